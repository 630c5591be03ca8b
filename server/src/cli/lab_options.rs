//! The flags of `serve` that say what each lab is and what it may use.

use std::path::PathBuf;
use std::time::Duration;

use newroot::classroom::Time;
use newroot::defence::{Defence, Defences};
use newroot::lab::cgroup::Limits;
use newroot::lab::{Overlay, Settings};
use newroot::runtime::Image;
use newroot::user::ServerUser;

/// What can be set for labs; the same for each.
#[derive(clap::Args)]
pub struct LabOptions {
    /// The image whose files a lab begins with, with a shell in it; pulled as labs pull [default: busybox, out of this binary]
    #[arg(long, value_name = "IMAGE")]
    lab_image: Option<Image>,
    /// Memory of a lab in MiB, the files of its tmpfs mounts included
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = mebibytes(32))]
    lab_memory: u64,
    /// Disk of a lab in MiB; it is a tmpfs, so its memory bounds it too
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = mebibytes(1))]
    lab_disk: u64,
    /// Processes and threads of a lab
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..=1 << 22))]
    lab_pids: u64,
    /// Processor time of a lab, in percent of one processor
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    lab_cpu: u64,
    /// A lab's share of the processors when they are all in use; 100 is what others have
    #[arg(long, value_name = "WEIGHT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    lab_cpu_weight: u64,
    /// Terminals that a lab may have open at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=64))]
    lab_terminals: u32,
    /// How long a lab lives in which nobody types, and to which nobody comes: 45m, 2h, 90s
    #[arg(long, value_name = "TIME", default_value = "60m", value_parser = some_time)]
    idle: Duration,
    /// How long a lab lives in which nobody has ever typed, and that no page shows any more
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = some_time)]
    unused: Duration,
    /// How long a lab lives in any case; 0 is for ever
    #[arg(long, value_name = "TIME", default_value = "8h", value_parser = time)]
    life: Duration,
    /// Let labs program netfilter in their own network namespaces: opens netlink's NETLINK_NETFILTER and the socket options
    /// of iptables and ip6tables to their root. It has often been the way to the machine's root; not for strangers
    #[arg(long)]
    lab_netfilter: bool,
    /// Where a lab's overlay is mounted, instead of where this kernel can: for tests of what old kernels need
    #[arg(long, value_name = "PLACE", value_enum, hide = true)]
    overlay: Option<Overlay>,
    /// Turn a defence off, for a test that sees what it is good for; may be repeated
    #[arg(long, value_name = "DEFENCE", value_enum, hide = true)]
    without: Vec<Defence>,
}

impl LabOptions {
    /// The image that was asked for.
    pub fn image(&self) -> Option<&Image> {
        self.lab_image.as_ref()
    }

    /// What the cgroup of a lab allows.
    pub fn limits(&self) -> Limits {
        if !self.defences().stand(Defence::Limits) {
            // Still less than a machine has, lest the doctor refuses.
            return Limits { memory: 2 << 30, pids: 4096, cpu_percent: 100_000, cpu_weight: 100 };
        }
        Limits {
            memory: self.lab_memory << 20,
            pids: self.lab_pids,
            cpu_percent: self.lab_cpu,
            cpu_weight: self.lab_cpu_weight,
        }
    }

    /// The same as settings, for at most so many labs below `directory` that begin with `rootfs`, of a server that is this
    /// user.
    pub fn settings(&self, directory: PathBuf, rootfs: PathBuf, most: usize, server: ServerUser) -> Settings {
        Settings {
            directory,
            rootfs,
            most,
            server,
            cgroup: self.limits(),
            disk: if self.defences().stand(Defence::Limits) { self.lab_disk << 20 } else { 2 << 30 },
            terminals: self.lab_terminals,
            idle: self.idle,
            unused: if self.defences().stand(Defence::UnusedLabs) { self.unused } else { self.idle },
            life: (!self.life.is_zero()).then_some(self.life),
            overlay: self.overlay,
            netfilter: self.lab_netfilter,
            defences: self.defences(),
        }
    }

    /// How long a lab may live, where the server sees to it as well.
    pub fn time(&self) -> Option<Time> {
        let life = (!self.life.is_zero()).then_some(self.life);
        self.defences().stand(Defence::Warden).then_some(Time { life, idle: self.idle })
    }

    /// Which defences stand: all of them outside of tests.
    pub fn defences(&self) -> Defences {
        Defences::without(self.without.clone())
    }
}

/// What a lab cannot do without, and what no machine has.
fn mebibytes(least: u64) -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(least..=1 << 30)
}

/// A time that is not 0.
pub fn some_time(text: &str) -> Result<Duration, String> {
    time(text).and_then(|time| if time.is_zero() { Err("it would end at once".to_owned()) } else { Ok(time) })
}

/// A number of minutes, or one with its unit.
fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "m"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        _ => 3600,
    };
    let number = number.parse::<u32>().map_err(|_| "a time is a number and s, m or h, like 45m".to_owned())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_have_a_unit_or_are_minutes() {
        let seconds = |text| time(text).map(|time| time.as_secs());
        assert_eq!(
            [seconds("90s"), seconds("45m"), seconds("45"), seconds("8h")],
            [Ok(90), Ok(2700), Ok(2700), Ok(28800)]
        );
        for wrong in ["", "m", "1d", "-1", "1.5h", "99999999999h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
