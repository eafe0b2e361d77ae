//! What the tests of packages share: keys, packages, and zip files that lie.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::io::{self, Cursor, Write};

use package::{
    ArchiveError, Builder, Format, KeyRing, Limits, PrivateKey, UnpackSink, Verified, VerifyError,
    ZipError, sign, unpack, verify,
};

/// A key file of `tests/fixtures/keys`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

pub(crate) fn private(name: &str) -> PrivateKey {
    PrivateKey::from_pem(&fixture(name)).unwrap()
}

/// The public keys of these files, without a warning that drops one.
pub(crate) fn ring(names: &[&str]) -> KeyRing {
    let files = names.iter().map(|name| ((*name).to_owned(), fixture(name)));
    let (ring, warnings) = KeyRing::parse(files);
    assert!(
        warnings.iter().all(package::KeyWarning::is_used),
        "{warnings:?}"
    );
    ring
}

/// A zip file of our own making.
pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        builder.add(name, &mut &**content).unwrap();
    }
    builder.finish().unwrap().into_inner()
}

/// The zip file as a package that `one_tls.key` validates.
pub(crate) fn signed(zip: &[u8], format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    sign(
        &mut Cursor::new(zip),
        &private("one_pkcs8.pem"),
        format,
        &mut out,
    )
    .unwrap();
    out
}

pub(crate) fn check(package: &[u8]) -> Result<Verified, VerifyError> {
    verify(
        &mut Cursor::new(package),
        &ring(&["one_tls.key"]),
        &Limits::default(),
    )
}

/// A small package, and the zip file in it.
pub(crate) fn sample() -> (Vec<u8>, Vec<u8>) {
    let zip = zip(&[
        ("app/__init__.py", b""),
        ("app/main.py", b"print('hello')\n" as &[u8]),
    ]);
    (signed(&zip, Format::DirectorFmt1), zip)
}

/// A package of any bytes in place of the zip file, signed by openssl's own `dgst`: what a signer
/// other than ours could make.
pub(crate) fn signed_by_openssl(zip: &[u8]) -> Vec<u8> {
    let marker = zip
        .windows(4)
        .rposition(|window| window == b"PK\x05\x06")
        .unwrap();
    let mut package = format!("ThespianDirectorFMT1-sha256\n256\n{marker}\n").into_bytes();
    package.extend(&zip[..marker]);
    package.extend(&zip[marker + 4..]);
    package.extend(openssl_signature(zip));
    package
}

pub(crate) fn openssl_signature(bytes: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bytes");
    std::fs::write(&path, bytes).unwrap();
    let key = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/keys/one_pkcs1.pem"
    );
    let output = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-sign", key])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Unpacked members in memory; folders map to nothing.
#[derive(Default)]
pub(crate) struct Tree(pub(crate) BTreeMap<String, Option<Vec<u8>>>);

impl UnpackSink for Tree {
    fn directory(&mut self, name: &str) -> io::Result<()> {
        if let Some((parent, _)) = name.rsplit_once('/') {
            assert_eq!(
                self.0.get(parent),
                Some(&None),
                "folder {parent} came first"
            );
        }
        assert_eq!(
            self.0.insert(name.to_owned(), None),
            None,
            "folder {name} came once"
        );
        Ok(())
    }

    fn file(&mut self, name: &str, size: u64) -> io::Result<Box<dyn Write + '_>> {
        if let Some((parent, _)) = name.rsplit_once('/') {
            assert_eq!(
                self.0.get(parent),
                Some(&None),
                "folder {parent} came first"
            );
        }
        let content = self
            .0
            .entry(name.to_owned())
            .or_insert_with(|| Some(Vec::new()));
        Ok(Box::new(Bounded {
            content: content.as_mut().unwrap(),
            size,
        }))
    }
}

/// Fails the test when more is written than was announced.
struct Bounded<'a> {
    content: &'a mut Vec<u8>,
    size: u64,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.content.extend(bytes);
        assert!(
            self.content.len() as u64 <= self.size,
            "no more than announced is written"
        );
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One member of a zip file whose headers say whatever the test wants.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) name: Vec<u8>,
    pub(crate) local_name: Option<Vec<u8>>,
    pub(crate) data: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) crc: u32,
    pub(crate) size: u32,
    pub(crate) packed: u32,
    pub(crate) local: Option<(u32, u32, u32)>,
    pub(crate) mode: u32,
    pub(crate) offset: Option<u32>,
    pub(crate) extra: Vec<u8>,
    pub(crate) local_extra: Vec<u8>,
    pub(crate) after: Vec<u8>,
    pub(crate) disk: u16,
}

impl Raw {
    /// A stored file that is what it says.
    pub(crate) fn file(name: &str, data: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let size = u32::try_from(data.len()).unwrap();
        Self {
            name: name.as_bytes().to_vec(),
            local_name: None,
            data: data.to_vec(),
            method: 0,
            flags: if name.is_ascii() { 0 } else { 1 << 11 },
            crc: crc.sum(),
            size,
            packed: size,
            local: None,
            mode: 0o100_644,
            offset: None,
            extra: Vec::new(),
            local_extra: Vec::new(),
            after: Vec::new(),
            disk: 0,
        }
    }

    /// The same, deflated.
    pub(crate) fn deflated(name: &str, data: &[u8]) -> Self {
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        let packed = encoder.finish().unwrap();
        let mut raw = Self::file(name, data);
        raw.packed = u32::try_from(packed.len()).unwrap();
        raw.data = packed;
        raw.method = 8;
        raw
    }
}

/// The end record's fields, where a test wants others than the true ones.
#[derive(Default)]
pub(crate) struct End {
    pub(crate) before_directory: Vec<u8>,
    pub(crate) members: Option<u16>,
    pub(crate) disk: u16,
    pub(crate) comment: Vec<u8>,
    pub(crate) zip64: bool,
}

pub(crate) fn raw_zip(members: &[Raw], end: &End) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut offsets = Vec::new();
    for member in members {
        offsets.push(u32::try_from(bytes.len()).unwrap());
        let name = member.local_name.as_ref().unwrap_or(&member.name);
        let (crc, packed, size) = member
            .local
            .unwrap_or((member.crc, member.packed, member.size));
        bytes.extend(b"PK\x03\x04");
        for short in [20, member.flags, member.method, 0, 0x21] {
            bytes.extend(short.to_le_bytes());
        }
        for long in [crc, packed, size] {
            bytes.extend(long.to_le_bytes());
        }
        bytes.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend(
            u16::try_from(member.local_extra.len())
                .unwrap()
                .to_le_bytes(),
        );
        bytes.extend(name);
        bytes.extend(&member.local_extra);
        bytes.extend(&member.data);
        bytes.extend(&member.after);
    }
    bytes.extend(&end.before_directory);
    let start = bytes.len();
    for (member, offset) in members.iter().zip(offsets) {
        bytes.extend(b"PK\x01\x02");
        for short in [3 << 8 | 20, 20, member.flags, member.method, 0, 0x21] {
            bytes.extend(short.to_le_bytes());
        }
        for long in [member.crc, member.packed, member.size] {
            bytes.extend(long.to_le_bytes());
        }
        bytes.extend(u16::try_from(member.name.len()).unwrap().to_le_bytes());
        bytes.extend(u16::try_from(member.extra.len()).unwrap().to_le_bytes());
        for short in [0_u16, member.disk, 0] {
            bytes.extend(short.to_le_bytes());
        }
        bytes.extend((member.mode << 16).to_le_bytes());
        bytes.extend(member.offset.unwrap_or(offset).to_le_bytes());
        bytes.extend(&member.name);
        bytes.extend(&member.extra);
    }
    write_end(&mut bytes, start, members.len(), end);
    bytes
}

fn write_end(bytes: &mut Vec<u8>, start: usize, members: usize, end: &End) {
    let size = bytes.len() - start;
    if end.zip64 {
        let record = bytes.len() as u64;
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44_u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for long in [members, members, size, start] {
            bytes.extend((long as u64).to_le_bytes());
        }
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend(record.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
    }
    let saturated = |value: usize| {
        if end.zip64 {
            u32::MAX
        } else {
            value.try_into().unwrap()
        }
    };
    let count = end
        .members
        .unwrap_or_else(|| u16::try_from(members).unwrap());
    bytes.extend(b"PK\x05\x06");
    for short in [end.disk, end.disk, count, count] {
        bytes.extend(short.to_le_bytes());
    }
    bytes.extend(saturated(size).to_le_bytes());
    bytes.extend(saturated(start).to_le_bytes());
    bytes.extend(u16::try_from(end.comment.len()).unwrap().to_le_bytes());
    bytes.extend(&end.comment);
}

/// Why `verify` refuses a package of these members.
pub(crate) fn refused(members: &[Raw], end: &End) -> ZipError {
    match check(&signed_by_openssl(&raw_zip(members, end))) {
        Err(VerifyError::Archive(ArchiveError::Zip(error))) => error,
        other => panic!("not refused for its zip file: {other:?}"),
    }
}

/// Why `unpack` refuses a package that `verify` accepts; it fails if `verify` does not.
pub(crate) fn damaged(members: &[Raw]) -> ZipError {
    let package = signed_by_openssl(&raw_zip(members, &End::default()));
    let verified = check(&package).unwrap();
    let mut reader = Cursor::new(&package);
    match unpack(
        &mut reader,
        &verified,
        &Limits::default(),
        &mut Tree::default(),
    ) {
        Err(ArchiveError::Zip(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn unpacked(members: &[Raw], end: &End) -> Tree {
    let package = signed_by_openssl(&raw_zip(members, end));
    let verified = check(&package).unwrap();
    let mut tree = Tree::default();
    unpack(
        &mut Cursor::new(&package),
        &verified,
        &Limits::default(),
        &mut tree,
    )
    .unwrap();
    tree
}

pub(crate) fn a() -> Raw {
    Raw::file("a.py", b"A = 1\n")
}

pub(crate) fn b() -> Raw {
    Raw::deflated("b/c.py", b"B = 2\nB = 2\nB = 2\n")
}

pub(crate) fn a_named(name: &str) -> Raw {
    Raw::file(name, b"A = 1\n")
}
