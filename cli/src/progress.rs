//! Progress of long work: bars on stderr where that is a terminal, nothing elsewhere.

use std::borrow::Cow;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// A bar that is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar over a known number of bytes.
    pub(crate) fn bytes(label: impl Into<Cow<'static, str>>, total: u64) -> Self {
        Self::styled(
            label,
            ProgressBar::new(total),
            "{msg} [{bar:30}] {bytes}/{total_bytes} {eta}",
        )
    }

    /// A sign of life for work of unknown length.
    pub(crate) fn spinner(label: impl Into<Cow<'static, str>>) -> Self {
        let progress = Self::styled(label, ProgressBar::new_spinner(), "{spinner} {msg}");
        progress.bar.enable_steady_tick(Duration::from_millis(100));
        progress
    }

    fn styled(label: impl Into<Cow<'static, str>>, bar: ProgressBar, template: &str) -> Self {
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_message(label);
        Self { bar }
    }

    /// Counts bytes.
    pub(crate) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Counts what is read through it.
    pub(crate) fn reading<R>(&self, inner: R) -> Reading<'_, R> {
        Reading {
            inner,
            progress: self,
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Lines that change in place, gone when dropped.
#[derive(Debug)]
pub(crate) struct Lines {
    all: MultiProgress,
    lines: Vec<Progress>,
}

impl Lines {
    /// No line yet.
    pub(crate) fn new() -> Self {
        Self {
            all: MultiProgress::new(),
            lines: Vec::new(),
        }
    }

    /// Shows these instead of those before.
    pub(crate) fn show(&mut self, texts: impl Iterator<Item = String>) {
        for (index, text) in texts.enumerate() {
            match self.lines.get(index) {
                Some(line) => line.bar.set_message(text),
                None => {
                    let bar = self.all.add(ProgressBar::new_spinner());
                    self.lines
                        .push(Progress::styled(text, bar, "{spinner} {msg}"));
                }
            }
        }
    }
}

/// A reader whose bytes a bar counts.
#[derive(Debug)]
pub(crate) struct Reading<'a, R> {
    inner: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Reading<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.add(count as u64);
        Ok(count)
    }
}

impl<R: Seek> Seek for Reading<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.inner.seek(to)
    }
}
