//! What a pull shows of its layers while it works, on standard error: a bar for each on a terminal, and in any case one
//! line for each that is done.

use std::env;
use std::io::{IsTerminal, stderr};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::printable::printable;

/// Shows the progress of one pull.
pub struct Progress {
    bars: Option<MultiProgress>,
}

impl Progress {
    /// Bars where somebody can see them move; else lines alone.
    pub fn on_standard_error() -> Progress {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let can_move = is_set("TERM") && env::var_os("TERM").is_some_and(|term| term != "dumb");
        let bars = (stderr().is_terminal() && can_move && !is_set("NO_COLOR"))
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Progress { bars }
    }

    /// Begins with a layer, number so-and-so `of` the image's, of this compressed size in bytes.
    pub fn layer(&self, number: usize, of: usize, digest: &str, bytes: u64) -> LayerProgress {
        // The beginning of a digest is enough to tell one from the other.
        let name = format!("layer {number}/{of} {}…", printable(format_args!("{digest:.19}")));
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(bytes));
            bar.set_style(style());
            bar.set_prefix(name.clone());
            bar
        });
        LayerProgress { bars: self.bars.clone(), bar, name, bytes }
    }
}

impl Drop for Progress {
    /// Leaves the terminal to whoever writes next. Layers of a failed pull may still be on their way.
    fn drop(&mut self) {
        self.bars.iter().for_each(|bars| drop(bars.clear()));
    }
}

/// Fits into 80 columns with three digits for the number of layers.
fn style() -> ProgressStyle {
    let template = "{prefix} [{bar:16}] {decimal_bytes:>9}/{decimal_total_bytes:9}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// Shows the progress of one layer. If it is dropped before the layer is done, then nothing more is said of it.
pub struct LayerProgress {
    bars: Option<MultiProgress>,
    bar: Option<ProgressBar>,
    name: String,
    bytes: u64,
}

impl LayerProgress {
    /// So many bytes of it are here.
    pub fn arrived(&self, bytes: u64) {
        self.bar.iter().for_each(|bar| bar.set_position(bytes));
    }

    /// It is in the rootfs. The line takes the place of the bar.
    pub fn done(self) {
        let size = match self.bytes as f64 {
            bytes @ 1e6.. => format!("{:.1} MB", bytes / 1e6),
            bytes => format!("{:.1} kB", bytes / 1e3),
        };
        let say = || eprintln!("{} {size} done", self.name);
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
        match &self.bars {
            // Above the other bars, which make room for it.
            Some(bars) => bars.suspend(say),
            None => say(),
        }
    }
}

impl Drop for LayerProgress {
    fn drop(&mut self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}
