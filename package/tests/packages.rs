//! Packages of real shapes: built the same each time, read back whole, whatever their size.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]

mod common;

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};

use common::{Tree, check, private, ring, sample, signed, zip};
use package::{
    ArchiveError, Builder, Format, Limits, NameFault, SignError, Unpacked, VerifyError, ZipError,
    contents, inspect, read_member, sign, source_hash, unpack, verify,
};

#[test]
fn the_same_members_give_the_same_bytes() {
    let (first, _) = sample();
    let (second, _) = sample();
    assert_eq!(first, second);
}

#[test]
fn members_are_added_in_name_order() {
    let mut builder = Builder::new(Cursor::new(Vec::new()));
    builder.add("b.py", &mut &b"1"[..]).unwrap();
    for name in ["a.py", "b.py"] {
        let error = builder.add(name, &mut &b"1"[..]).unwrap_err();
        assert!(matches!(error, ZipError::Order { .. }), "{error}");
    }
    let error = builder.add("../c.py", &mut &b"1"[..]).unwrap_err();
    assert!(
        matches!(
            error,
            ZipError::Name {
                fault: NameFault::Dots,
                ..
            }
        ),
        "{error}"
    );
    let zip = builder.finish().unwrap().into_inner();
    assert_eq!(
        check(&signed(&zip, Format::DirectorFmt1))
            .unwrap()
            .members(),
        1
    );
}

#[test]
fn a_large_member_that_does_not_shrink_is_stored_and_read_back() {
    // A linear congruential generator: bytes that no deflate makes smaller.
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(200_000)
    .collect();
    let text = b"value = 1\n".repeat(20_000);
    let mut builder = Builder::new(Cursor::new(Vec::new()));
    builder.add("noise.bin", &mut noise.as_slice()).unwrap();
    builder.add("text.py", &mut text.as_slice()).unwrap();
    let package = signed(
        &builder.finish().unwrap().into_inner(),
        Format::DirectorFmt1,
    );
    let verified = check(&package).unwrap();
    let mut package = Cursor::new(package);
    let members = contents(&mut package, &verified, &Limits::default()).unwrap();
    assert_eq!(members[0].compressed_size, noise.len() as u64);
    assert!(members[1].compressed_size * 100 < members[1].size);
    for (name, content) in [("noise.bin", &noise), ("text.py", &text)] {
        let mut read = Vec::new();
        read_member(&mut package, &verified, name, &Limits::default(), &mut read).unwrap();
        assert_eq!(read, *content);
    }
}

#[test]
fn an_empty_package_is_not_written() {
    let empty = Builder::new(Cursor::new(Vec::new())).finish();
    assert!(matches!(empty, Err(ZipError::Empty)));
}

#[test]
fn nothing_is_written_when_readers_would_refuse_it() {
    let members = [common::Raw::file("a", b""), common::Raw::file("A", b"")];
    let zip = common::raw_zip(&members, &common::End::default());
    let mut out = Vec::new();
    let key = private("one_pkcs8.pem");
    let refused = sign(&mut Cursor::new(&zip), &key, Format::DirectorFmt1, &mut out);
    assert!(matches!(
        refused,
        Err(SignError::Zip(ZipError::Duplicate { .. }))
    ));
    assert_eq!(out, b"");
    let old = sign(&mut Cursor::new(&zip), &key, Format::ViceroyFmt1, &mut out);
    assert!(matches!(old, Err(SignError::ReadOnly { .. })));
}

#[test]
fn a_source_that_cannot_be_read_is_told_from_a_full_disk() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no such sector"))
        }
    }
    let mut builder = Builder::new(Cursor::new(Vec::new()));
    let error = builder.add("a.py", &mut Broken).unwrap_err();
    assert!(
        matches!(error, ZipError::Source { ref member, .. } if member == "a.py"),
        "{error}"
    );
}

#[test]
fn members_are_listed_and_read_by_name() {
    let (package, _) = sample();
    let verified = check(&package).unwrap();
    let mut reader = Cursor::new(&package);
    let limits = Limits::default();
    let members = contents(&mut reader, &verified, &limits).unwrap();
    let listed: Vec<_> = members
        .iter()
        .map(|m| (m.name.as_str(), m.size, m.is_dir))
        .collect();
    assert_eq!(
        listed,
        [("app/__init__.py", 0, false), ("app/main.py", 15, false)]
    );

    let mut out = Vec::new();
    let size = read_member(&mut reader, &verified, "app/main.py", &limits, &mut out).unwrap();
    assert_eq!((size, out.as_slice()), (15, b"print('hello')\n" as &[u8]));
    let missing = read_member(&mut reader, &verified, "app/other.py", &limits, &mut out);
    let Err(ArchiveError::Zip(error)) = missing else {
        panic!("{missing:?}")
    };
    assert_eq!(error.to_string(), "the package has no file `app/other.py`");
    assert!(error.hint().contains("tlsinfo"));
}

#[test]
fn a_sink_that_fails_is_named_with_its_member() {
    struct Full;
    impl package::UnpackSink for Full {
        fn directory(&mut self, _: &str) -> std::io::Result<()> {
            Ok(())
        }
        fn file(&mut self, _: &str, _: u64) -> std::io::Result<Box<dyn Write + '_>> {
            struct Never;
            impl Write for Never {
                fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                    Err(std::io::ErrorKind::StorageFull.into())
                }
                fn flush(&mut self) -> std::io::Result<()> {
                    Ok(())
                }
            }
            Ok(Box::new(Never))
        }
    }
    let (package, _) = sample();
    let verified = check(&package).unwrap();
    let limits = Limits::default();
    match unpack(&mut Cursor::new(&package), &verified, &limits, &mut Full) {
        Err(ArchiveError::Zip(ZipError::Write { member, source })) => {
            assert_eq!(member, "app/main.py");
            assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        }
        other => panic!("{other:?}"),
    }
}

/// Bytes that no compression makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    use rand::{RngCore, SeedableRng};
    let mut noise = vec![0; bytes];
    rand::rngs::StdRng::seed_from_u64(7).fill_bytes(&mut noise);
    noise
}

#[test]
fn a_package_of_more_than_ten_million_bytes_is_read() {
    let noise = noise(11_000_000);
    let mut package = tempfile::tempfile().unwrap();
    let zip = zip(&[("data.bin", &noise), ("z.py", b"")]);
    let key = private("one_pkcs8.pem");
    let written = sign(
        &mut Cursor::new(&zip),
        &key,
        Format::DirectorFmt1,
        &mut package,
    )
    .unwrap();
    let layout = inspect(&mut package, &Limits::default()).unwrap();
    assert!(layout.end_record().unwrap() >= 10_000_000);
    assert_eq!(layout.zip_bytes(), zip.len() as u64);

    let limits = Limits::default();
    let verified = verify(&mut package, &ring(&["one_tls.key"]), &limits).unwrap();
    assert_eq!(
        (verified.hash(), verified.size()),
        (written.hash, written.size)
    );
    package.seek(SeekFrom::Start(0)).unwrap();
    assert_eq!(
        source_hash(&mut package).unwrap(),
        (written.hash, written.size)
    );
    let mut tree = Tree::default();
    let unpacked = unpack(&mut package, &verified, &limits, &mut tree).unwrap();
    assert_eq!(
        unpacked,
        Unpacked {
            files: 2,
            directories: 0,
            bytes: 11_000_000
        }
    );
    assert!(tree.0["data.bin"].as_ref() == Some(&noise));
}

/// Counts the bytes of the largest single read that is asked of it.
struct Watched<R> {
    inner: R,
    read_max: usize,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.read_max = self.read_max.max(buffer.len());
        self.inner.read(buffer)
    }
}

impl<R: Seek> Seek for Watched<R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn buffers_do_not_grow_with_the_package() {
    let package = signed(&zip(&[("data.bin", &noise(3 << 20))]), Format::DirectorFmt1);
    let mut reader = Watched {
        inner: Cursor::new(&package),
        read_max: 0,
    };
    let limits = Limits::default();
    let verified = verify(&mut reader, &ring(&["one_tls.key"]), &limits).unwrap();
    read_member(
        &mut reader,
        &verified,
        "data.bin",
        &limits,
        &mut std::io::sink(),
    )
    .unwrap();
    assert!(reader.read_max <= 256 * 1024, "{}", reader.read_max);
}

#[test]
fn a_file_that_grows_while_it_is_read_is_refused() {
    /// Says that it ends one byte before it does.
    struct Growing<R>(R);
    impl<R: Read> Read for Growing<R> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl<R: Seek> Seek for Growing<R> {
        fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
            match to {
                SeekFrom::End(offset) => self.0.seek(SeekFrom::End(offset - 1)),
                other => self.0.seek(other),
            }
        }
    }
    let (mut package, _) = sample();
    package.push(b'\n');
    let keys = ring(&["one_tls.key"]);
    let refused = verify(
        &mut Growing(Cursor::new(&package)),
        &keys,
        &Limits::default(),
    );
    assert!(
        matches!(refused, Err(VerifyError::Archive(ArchiveError::Changed))),
        "{refused:?}"
    );
}

#[test]
fn a_reader_that_gives_single_bytes_makes_no_difference() {
    struct Trickle<R>(R);
    impl<R: Read> Read for Trickle<R> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let size = buffer.len().min(1);
            self.0.read(&mut buffer[..size])
        }
    }
    impl<R: Seek> Seek for Trickle<R> {
        fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
            self.0.seek(to)
        }
    }
    let (package, _) = sample();
    let mut reader = Trickle(Cursor::new(&package));
    let limits = Limits::default();
    let verified = verify(&mut reader, &ring(&["one_tls.key"]), &limits).unwrap();
    assert_eq!(verified, check(&package).unwrap());
    let mut tree = Tree::default();
    unpack(&mut reader, &verified, &limits, &mut tree).unwrap();
    assert_eq!(
        tree.0["app/main.py"].as_deref(),
        Some(b"print('hello')\n" as &[u8])
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_packed_is_what_is_unpacked(
        members in proptest::collection::btree_map(
            "[a-c]{1,2}/[a-c_\u{e4}]{1,3}\\.py",
            proptest::collection::vec(proptest::num::u8::ANY, 0..2000),
            1..8,
        )
    ) {
        let listed: Vec<(&str, &[u8])> =
            members.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
        let package = signed(&zip(&listed), Format::DirectorFmt1);
        let verified = check(&package).unwrap();
        let mut tree = Tree::default();
        let limits = Limits::default();
        unpack(&mut Cursor::new(&package), &verified, &limits, &mut tree).unwrap();
        let files: BTreeMap<String, Vec<u8>> =
            tree.0.into_iter().filter_map(|(name, data)| Some((name, data?))).collect();
        proptest::prop_assert_eq!(files, members);
    }
}
