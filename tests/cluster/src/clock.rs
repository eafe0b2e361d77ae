//! Clocks that are wrong: each host of a scenario may have its own offset, changed while it runs.
//!
//! The kernel has one clock for all processes, so a library loaded before libc's adds the offset
//! to what a process asks for; clocks that only measure durations stay as they are. It is
//! compiled when a scenario needs it. Not here: what a wrong clock may do (`tests/clocks.rs`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::name::Node;
use crate::scene::Scene;

/// Which way a clock is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// So far ahead.
    Ahead(Duration),
    /// So far behind.
    Behind(Duration),
}

impl Scene {
    /// Sets the clock of a node's host, also while it runs: from now on all that is started there
    /// and knows the library has it.
    pub fn set_clock(&self, node: Node, clock: Clock) {
        self.phase(&format!("the clock of {node}: {clock:?}"));
        let offset_ms = match clock {
            Clock::Ahead(by) => format!("{}", by.as_millis()),
            Clock::Behind(by) => format!("-{}", by.as_millis()),
        };
        let file = self.path(&format!("{node}.clock"));
        let fresh = file.with_extension("clock-new");
        fs::write(&fresh, offset_ms).unwrap();
        fs::rename(fresh, &file).unwrap();
        let library = self.path("clock.so");
        if !library.exists() {
            compile(&library);
        }
        self.cast().processes[node.0].go_by(library, file);
    }
}

fn compile(library: &Path) {
    let source: PathBuf = library.with_extension("rs");
    fs::write(&source, SHIM).unwrap();
    let cargo = std::env::var_os("CARGO").map(PathBuf::from);
    let beside = cargo.map(|cargo| cargo.with_file_name("rustc"));
    let rustc = beside.filter(|rustc| rustc.exists());
    let mut command = Command::new(rustc.unwrap_or_else(|| "rustc".into()));
    command.args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-o"]);
    let compiled = command.arg(library).arg(source).status();
    assert!(compiled.unwrap().success(), "the clock cannot be compiled");
}

/// Calls the kernel by itself: what it stands in front of would be itself.
const SHIM: &str = r#"
use std::ffi::{c_char, c_int, c_long, c_void};

#[repr(C)]
pub struct Spec { s: i64, part: c_long }

unsafe extern "C" {
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn read(file: c_int, to: *mut c_void, bytes: usize) -> isize;
    fn close(file: c_int) -> c_int;
    fn getenv(name: *const c_char) -> *const c_char;
    fn syscall(number: c_long, ...) -> c_long;
}

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;
const READ_CLOEXEC: c_int = 0o2000000;
const REALTIME: [c_int; 2] = [0, 5];

fn offset_ms() -> i64 {
    let mut text = [0_u8; 32];
    unsafe {
        let path = getenv(c"DIRECTOR_CLUSTER_CLOCK".as_ptr());
        if path.is_null() {
            return 0;
        }
        let file = open(path, READ_CLOEXEC);
        if file < 0 {
            return 0;
        }
        read(file, text.as_mut_ptr().cast(), text.len());
        close(file);
    }
    let digits = text.iter().filter(|byte| byte.is_ascii_digit());
    let value = digits.fold(0, |value: i64, digit| value * 10 + i64::from(digit - b'0'));
    if text[0] == b'-' { -value } else { value }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, at: *mut Spec) -> c_int {
    let asked = unsafe { syscall(CLOCK_GETTIME, clock, at) } as c_int;
    if asked == 0 && REALTIME.contains(&clock) {
        let at = unsafe { &mut *at };
        let ns = i128::from(at.s) * 1_000_000_000 + at.part as i128;
        let ns = ns + i128::from(offset_ms()) * 1_000_000;
        at.s = ns.div_euclid(1_000_000_000) as i64;
        at.part = ns.rem_euclid(1_000_000_000) as c_long;
    }
    asked
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(at: *mut Spec, _zone: *mut c_void) -> c_int {
    let asked = unsafe { clock_gettime(0, at) };
    unsafe { (*at).part /= 1000 };
    asked
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(to: *mut i64) -> i64 {
    let mut at = Spec { s: 0, part: 0 };
    unsafe { clock_gettime(0, &mut at) };
    if !to.is_null() {
        unsafe { *to = at.s };
    }
    at.s
}
"#;
