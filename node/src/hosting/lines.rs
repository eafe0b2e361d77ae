//! Lines cut out of what a process writes, each bounded.
//!
//! Pure. Not here: where lines go (`output`).

/// Cuts bytes into lines; keeps at most [`LINE_BYTES_MAX`] of each and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
    cut_bytes: usize,
}

impl Lines {
    /// Takes bytes and hands every finished line to `take`.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(String)) {
        let mut pieces = bytes.split(|&byte| byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.keep(piece);
            if pieces.peek().is_some() {
                take(self.finished());
            }
        }
    }

    /// The last line, if it was not finished.
    pub(crate) fn rest(&mut self) -> Option<String> {
        (!self.open.is_empty()).then(|| self.finished())
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.open.len());
        let (kept, cut) = piece.split_at(room.min(piece.len()));
        self.open.extend_from_slice(kept);
        self.cut_bytes += cut.len();
    }

    fn finished(&mut self) -> String {
        let bytes = self.open.strip_suffix(b"\r").unwrap_or(&self.open);
        let mut line = String::from_utf8_lossy(bytes).into_owned();
        if self.cut_bytes > 0 {
            line.push_str(&format!("... ({} bytes more)", self.cut_bytes));
        }
        self.open.clear();
        self.cut_bytes = 0;
        line
    }
}

/// Longest line kept: a traceback's line fits, a dumped buffer does not.
const LINE_BYTES_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| out.push(line));
        }
        out.extend(lines.rest());
        out
    }

    #[test]
    fn lines_are_the_same_wherever_the_bytes_are_split() {
        assert_eq!(
            cut(&[b"one\ntw", b"o\n\nth", b"ree"]),
            ["one", "two", "", "three"]
        );
        assert_eq!(cut(&[b"one\r\n", b"\n"]), ["one", ""]);
    }

    #[test]
    fn a_line_without_end_costs_a_bounded_memory() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.feed(&[b'x'; 1000], |_line| panic!("no line has ended"));
        }
        assert!(lines.open.capacity() < 4 * LINE_BYTES_MAX);
        let line = lines.rest().unwrap();
        assert!(line.ends_with("x... (991808 bytes more)"), "{}", line.len());
    }
}
