//! A model id to a snapshot in the local hub cache, with a progress bar on a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use qwen3_embedding::{Error, Hub, Network, Progress, Snapshot};

use crate::failure::Failure;

const STYLE: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";

/// The snapshot of `id`, from the cache or else from the hub that the environment names.
pub(super) fn fetch(id: &str, revision: Option<&str>, offline: bool) -> Result<Snapshot, Failure> {
    let mut hub = Hub::from_env();
    if offline {
        hub = hub.network(Network::Forbidden);
    }
    let mut bar = Bar::default();
    match hub.fetch(id, revision, &mut |progress| bar.show(&progress)) {
        Ok(snapshot) => Ok(snapshot),
        // What has the form of an id may have been meant as a directory.
        Err(error @ (Error::ModelNotFound { .. } | Error::Offline { .. })) => {
            let message = format!("{error}; nor is there a directory {id}");
            Err(Failure::Runtime(message))
        }
        Err(error) => Err(error.into()),
    }
}

/// The bar of the file that is arriving. It draws nothing unless stderr is a terminal.
#[derive(Default)]
struct Bar {
    file: String,
    bar: Option<ProgressBar>,
}

impl Bar {
    fn show(&mut self, progress: &Progress<'_>) {
        if self.file != progress.file {
            self.file = progress.file.to_owned();
            self.bar = Some(bar(progress));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(progress.done);
            if progress.done == progress.total {
                bar.finish_and_clear();
            }
        }
    }
}

fn bar(progress: &Progress<'_>) -> ProgressBar {
    let style =
        ProgressStyle::with_template(STYLE).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(progress.total)
        .with_style(style)
        .with_message(progress.file.to_owned())
        .with_position(progress.done)
}
