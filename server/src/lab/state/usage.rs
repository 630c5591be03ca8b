//! What a lab may use and what it uses, for its pages: read while one is open, and told when it has changed visibly.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shared::protocol::{Limits, Used};
use tokio::time::sleep;

use super::super::cgroup::{self, Delegated, Meter};
use super::Lab;

/// A look at three small files this often costs nothing; nobody is told of what has not changed.
const LOOK_EACH: Duration = Duration::from_secs(3);

/// Some thousand cgroups can be made between two of these looks, and no more.
const COUNT_EACH: Duration = Duration::from_secs(1);

/// A lab's limits, and the means to see what it uses of them.
pub(super) struct Usage {
    limits: Limits,
    meter: Meter,
    cgroup: Arc<Delegated>,
    used: Cell<Used>,
}

impl Usage {
    /// Nothing is known yet.
    pub fn new(limits: Limits, meter: Meter, cgroup: Delegated) -> Usage {
        Usage { limits, meter, cgroup: Arc::new(cgroup), used: Cell::default() }
    }
}

impl Lab {
    /// What the lab may use.
    pub(in super::super) fn limits(&self) -> &Limits {
        &self.usage.limits
    }

    /// What it used when somebody last looked.
    pub(in super::super) fn use_seen(&self) -> Used {
        self.usage.used.get()
    }

    /// What it uses now.
    pub(in super::super) fn use_now(&self) -> Used {
        let machine = self.machine.borrow().clone();
        // The root of PID 1 is the learner's to choose. The worst is a wrong figure on their own page.
        let root = machine.map(|machine| PathBuf::from(format!("/proc/{}/root", machine.pid)));
        let disk = root.and_then(|root| nix::sys::statvfs::statvfs(&root).ok());
        Used {
            memory: self.usage.meter.memory(),
            processes: self.usage.meter.processes(),
            disk: disk.map_or(0, |disk| disk.blocks().saturating_sub(disk.blocks_free()) * disk.fragment_size()),
        }
    }

    /// The learner's part of the cgroup.
    pub(super) fn cgroup(&self) -> Arc<Delegated> {
        self.usage.cgroup.clone()
    }

    /// Ends a lab that makes too many cgroups, where the kernel refuses none.
    pub(super) async fn watch_cgroups(self: Rc<Self>) {
        while !self.usage.cgroup.has_too_many() {
            sleep(COUNT_EACH).await;
        }
        self.end(&format!(
            "it has more than {} cgroups, or more than {} that were removed live on",
            cgroup::MOST,
            cgroup::MOST_DYING
        ));
    }

    /// Looks while there is a page to be told.
    pub(super) async fn watch_use(self: Rc<Self>) {
        let mut changes = self.changes();
        loop {
            while self.pages() == 0 {
                // The sender is in this very lab.
                let _ = changes.changed().await;
            }
            let (now, limits) = (self.use_now(), &self.usage.limits);
            let coarse = Used {
                memory: coarse(now.memory, limits.memory),
                disk: coarse(now.disk, limits.disk),
                processes: now.processes,
            };
            if self.usage.used.replace(coarse) != coarse {
                self.changed();
            }
            sleep(LOOK_EACH).await;
        }
    }
}

/// In steps of a hundredth of the limit, or of a mebibyte where that is more: less is not seen on a page.
fn coarse(bytes: u64, limit: u64) -> u64 {
    let step = (limit / 100).max(1 << 20);
    bytes.div_ceil(step) * step
}
