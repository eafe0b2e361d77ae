//! Signatures and header lines: what no key signed is refused, whatever it looks like.
//!
//! Source: `pitfalls` section 1; defects D1 to D5.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]

mod common;

use std::io::Cursor;

use common::{check, fixture, openssl_signature, private, ring, sample, signed, zip};
use package::{
    Format, KeyOutcome, KeyProblem, KeyRing, Limits, PrivateKey, SourceHash, VerifyError, sign,
    verify,
};
use rsa::BigUint;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;

#[test]
fn a_package_signed_here_validates_here_in_each_written_format() {
    let zip = zip(&[("a.py", b"A = 1\n")]);
    for format in [Format::DirectorFmt1, Format::ViceroyFmt2] {
        let package = signed(&zip, format);
        let verified = check(&package).unwrap();
        assert_eq!(verified.format(), format);
        assert_eq!(verified.hash(), SourceHash::of(&package));
        assert_eq!(verified.size(), package.len() as u64);
        assert_eq!(verified.key_name(), "one_tls.key");
        assert_eq!((verified.members(), verified.unpacked_bytes()), (1, 6));
    }
}

#[test]
fn the_layout_is_thespians_byte_for_byte() {
    let (package, zip) = sample();
    let marker = zip.len() - 22;
    let mut expected = format!("ThespianDirectorFMT1-sha256\n256\n{marker}\n").into_bytes();
    expected.extend(&zip[..marker]);
    expected.extend(&zip[marker + 4..]);
    expected.extend(openssl_signature(&zip));
    assert_eq!(package, expected);
}

#[test]
fn viceroy_fmt1_is_read() {
    let (_, zip) = sample();
    let mut package = b"ViceroyFMT1-sha256\n256\n".to_vec();
    package.extend(openssl_signature(&zip));
    let exchanged = zip.iter().map(|byte| match byte {
        b' ' => b':',
        b'\n' => b'a',
        b'=' => b'i',
        b'i' => b' ',
        b'a' => b'\n',
        b':' => b'=',
        other => *other,
    });
    package.extend(exchanged);
    let verified = check(&package).unwrap();
    let mut content = Vec::new();
    let mut reader = Cursor::new(&package);
    let limits = Limits::default();
    package::read_member(&mut reader, &verified, "app/main.py", &limits, &mut content).unwrap();
    assert_eq!(content, b"print('hello')\n");
}

#[test]
fn one_key_in_three_encodings_is_one_key() {
    let (package, _) = sample();
    for name in ["one_tls.key", "one_pkcs1_tls.key"] {
        let verified = verify(
            &mut Cursor::new(&package),
            &ring(&[name]),
            &Limits::default(),
        );
        assert_eq!(verified.unwrap().key_name(), name);
    }
    let pkcs1 = private("one_pkcs1.pem");
    assert_eq!(
        pkcs1.to_pem().unwrap(),
        private("one_pkcs8.pem").to_pem().unwrap()
    );
    assert_eq!(
        pkcs1.public_pem().unwrap().into_bytes(),
        fixture("one_tls.key")
    );
}

#[test]
fn keys_of_1024_to_8192_bits_sign_and_validate() {
    let zip = zip(&[("a.py", b"")]);
    for (name, bits) in [("short", 1024), ("one_pkcs8", 2048), ("big", 8192)] {
        let key = private(&format!("{name}.pem"));
        assert_eq!(key.bits(), bits);
        let mut package = Vec::new();
        sign(
            &mut Cursor::new(&zip),
            &key,
            Format::DirectorFmt1,
            &mut package,
        )
        .unwrap();
        let public = key.public_pem().unwrap().into_bytes();
        let (ring, warnings) = KeyRing::parse([("k_tls.key".to_owned(), public)]);
        let verified = verify(&mut Cursor::new(&package), &ring, &Limits::default()).unwrap();
        assert_eq!(verified.layout().signature_bytes(), bits / 8);
        let short = KeyProblem::Short { bits };
        assert_eq!(
            warnings.iter().any(|warning| warning.problem == short),
            bits < 2048
        );
    }
}

#[test]
fn a_generated_key_signs_and_reads_back() {
    use rand::{RngCore, SeedableRng};
    let mut rng = rand::rngs::StdRng::seed_from_u64(1);
    let key = PrivateKey::generate(1024, |bytes| rng.fill_bytes(bytes)).unwrap();
    assert_eq!(key.bits(), 1024);
    let again = PrivateKey::from_pem(key.to_pem().unwrap().as_bytes()).unwrap();
    assert_eq!(again.public_pem(), key.public_pem());
    let too_small = PrivateKey::generate(512, |_| ()).unwrap_err();
    assert_eq!(too_small, KeyProblem::Size { bits: 512 });
}

#[test]
fn one_malformed_key_does_not_stop_verification() {
    let (package, _) = sample();
    let mut cut_off = fixture("two_tls.key");
    cut_off.truncate(200);
    let mut damaged = fixture("two_tls.key");
    damaged[60] = b'!';
    let files = [
        ("a_tls.key", b"not a key".to_vec()),
        ("b_tls.key", cut_off),
        ("c_tls.key", damaged),
        ("d_tls.key", fixture("ec_tls.key")),
        ("e_tls.key", fixture("ed25519_tls.key")),
        ("f_tls.key", fixture("e3_tls.key")),
        ("g_tls.key", fixture("one_pkcs8.pem")),
        ("h_tls.key", Vec::new()),
        ("i_tls.key", vec![0xff; 100]),
        ("z_tls.key", fixture("one_tls.key")),
    ];
    let (ring, warnings) = KeyRing::parse(files.map(|(name, content)| (name.to_owned(), content)));
    assert_eq!(
        ring.iter()
            .map(package::PublicKey::name)
            .collect::<Vec<_>>(),
        ["z_tls.key"]
    );
    let named: Vec<_> = warnings
        .iter()
        .map(|warning| warning.file.as_str())
        .collect();
    assert_eq!(
        named,
        [
            "a_tls.key",
            "b_tls.key",
            "c_tls.key",
            "d_tls.key",
            "e_tls.key",
            "f_tls.key",
            "g_tls.key",
            "h_tls.key",
            "i_tls.key"
        ]
    );
    let text = |index: usize| warnings[index].to_string();
    assert!(
        text(3).contains("`EC` is unsupported until DirectorFMT2"),
        "{}",
        text(3)
    );
    assert!(
        text(4).contains("`Ed25519` is unsupported until DirectorFMT2"),
        "{}",
        text(4)
    );
    assert!(text(5).contains("public exponent `3`"), "{}", text(5));
    assert!(text(6).contains("`PRIVATE KEY` block"), "{}", text(6));
    verify(&mut Cursor::new(&package), &ring, &Limits::default()).unwrap();
}

#[test]
fn private_keys_that_cannot_sign_are_named() {
    let problem = |content: &[u8]| PrivateKey::from_pem(content).unwrap_err();
    assert_eq!(problem(b""), KeyProblem::NoPem);
    assert_eq!(problem(&fixture("encrypted.pem")), KeyProblem::Encrypted);
    assert_eq!(
        problem(&fixture("e3.pem")),
        KeyProblem::Exponent {
            exponent: "3".to_owned()
        }
    );
    assert!(matches!(
        problem(&fixture("one_tls.key")),
        KeyProblem::Label { .. }
    ));
    let cut_off = fixture("one_pkcs8.pem");
    assert!(matches!(
        problem(&cut_off[..300]),
        KeyProblem::Unterminated { .. }
    ));
}

#[test]
fn every_key_is_tried_and_reported() {
    let (package, _) = sample();
    let keys = ring(&["two_tls.key", "short_tls.key"]);
    let error = verify(&mut Cursor::new(&package), &keys, &Limits::default()).unwrap_err();
    let text = error.to_string();
    let VerifyError::Refused { tried } = error else {
        panic!("{text}")
    };
    assert_eq!(tried[0].key_name, "short_tls.key");
    let other = KeyOutcome::OtherLength {
        key_bytes: 128,
        signature_bytes: 256,
    };
    assert_eq!(
        (tried[0].outcome, tried[1].outcome),
        (other, KeyOutcome::Mismatch)
    );
    assert!(
        text.contains("`short_tls.key`") && text.contains("`two_tls.key`"),
        "{text}"
    );

    let keys = ring(&["two_tls.key", "one_tls.key"]);
    verify(&mut Cursor::new(&package), &keys, &Limits::default()).unwrap();
    let none = verify(
        &mut Cursor::new(&package),
        &KeyRing::default(),
        &Limits::default(),
    );
    assert!(matches!(none, Err(VerifyError::NoKeys)));
}

#[test]
fn a_signature_forged_for_exponent_3_is_refused() {
    // Thespian compared only how the decrypted signature ends. A number whose cube ends with the
    // wanted bytes is found bit by bit, without the private key.
    let (ending, zip) = (0..64_u8)
        .map(|salt| zip(&[("evil.py", &[salt])]))
        .map(|zip| (digest_info(&zip), zip))
        .find(|(ending, _)| ending.last().is_some_and(|byte| byte % 2 == 1))
        .unwrap();
    let wanted = BigUint::from_bytes_be(&ending);
    let mut root = BigUint::from(1_u8);
    for bit in 1..ending.len() * 8 {
        let difference = (&root * &root * &root) ^ &wanted;
        if (difference >> bit) % 2_u8 == BigUint::from(1_u8) {
            root += BigUint::from(1_u8) << bit;
        }
    }
    let mut signature = vec![0; 256];
    let root = root.to_bytes_be();
    signature[256 - root.len()..].copy_from_slice(&root);
    let root = BigUint::from_bytes_be(&signature);
    let cube = (&root * &root * &root).to_bytes_be();
    assert!(cube.ends_with(&ending), "the forgery is one");
    let mut package = signed(&zip, Format::ViceroyFmt2);
    let start = package.len() - 256;
    package[start..].copy_from_slice(&signature);

    let (ring, warnings) = KeyRing::parse([("e3_tls.key".to_owned(), fixture("e3_tls.key"))]);
    assert_eq!(
        warnings[0].problem,
        KeyProblem::Exponent {
            exponent: "3".to_owned()
        }
    );
    let refused = verify(&mut Cursor::new(&package), &ring, &Limits::default());
    assert!(matches!(refused, Err(VerifyError::NoKeys)));
    assert!(matches!(check(&package), Err(VerifyError::Refused { .. })));
}

/// How the message of a signature over `bytes` ends: the name of SHA-256, then the digest.
fn digest_info(bytes: &[u8]) -> Vec<u8> {
    let mut info = hex::decode("003031300d060960864801650304020105000420").unwrap();
    info.extend(SourceHash::of(bytes).0);
    info
}

/// A package around `sample`'s zip whose signature decrypts to `encoded`.
fn with_encoded_message(encoded: &[u8]) -> Vec<u8> {
    use rsa::pkcs1::DecodeRsaPrivateKey;
    use rsa::traits::PrivateKeyParts;
    let pem = String::from_utf8(fixture("one_pkcs1.pem")).unwrap();
    let key = rsa::RsaPrivateKey::from_pkcs1_pem(&pem).unwrap();
    let signature = BigUint::from_bytes_be(encoded)
        .modpow(key.d(), key.n())
        .to_bytes_be();
    let (mut package, _) = sample();
    let start = package.len() - 256;
    package[start..].fill(0);
    package[start + 256 - signature.len()..].copy_from_slice(&signature);
    package
}

/// The message that a signature of `sample`'s zip must decrypt to.
fn encoded_message() -> Vec<u8> {
    let public = String::from_utf8(fixture("one_tls.key")).unwrap();
    let key = rsa::RsaPublicKey::from_public_key_pem(&public).unwrap();
    let (package, _) = sample();
    let signature = BigUint::from_bytes_be(&package[package.len() - 256..]);
    let mut message = signature.modpow(key.e(), key.n()).to_bytes_be();
    message.insert(0, 0);
    assert_eq!(message.len(), 256);
    message
}

#[test]
fn padding_bytes_that_are_not_ff_are_refused() {
    let message = encoded_message();
    check(&with_encoded_message(&message)).unwrap();
    let end_of_padding = message
        .iter()
        .skip(2)
        .position(|byte| *byte != 0xff)
        .unwrap()
        + 2;
    let changes = [
        (1, 2),
        (2, 0xfe),
        (100, 0),
        (end_of_padding - 1, 0x7f),
        (end_of_padding, 1),
        (end_of_padding + 1, 0x31),
        (255, message[255] ^ 1),
    ];
    for (at, byte) in changes {
        let mut forged = message.clone();
        forged[at] = byte;
        let refused = check(&with_encoded_message(&forged));
        assert!(
            matches!(refused, Err(VerifyError::Refused { .. })),
            "byte {at}"
        );
    }
    // Short padding with the digest moved forward, and rubbish after it.
    let mut short = vec![0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    short.extend(&message[end_of_padding..]);
    short.resize(256, 0xff);
    assert!(matches!(
        check(&with_encoded_message(&short)),
        Err(VerifyError::Refused { .. })
    ));
}

#[test]
fn a_signature_plus_the_modulus_is_refused() {
    let public = String::from_utf8(fixture("one_tls.key")).unwrap();
    let key = rsa::RsaPublicKey::from_public_key_pem(&public).unwrap();
    // One of some zips has a signature small enough that the sum still fits 256 bytes.
    let second = (0..64_u8).find_map(|salt| {
        let zip = zip(&[("a.py", &[salt])]);
        let mut package = signed(&zip, Format::DirectorFmt1);
        let start = package.len() - 256;
        let sum = (BigUint::from_bytes_be(&package[start..]) + key.n()).to_bytes_be();
        (sum.len() == 256).then(|| {
            package[start..].copy_from_slice(&sum);
            package
        })
    });
    assert!(matches!(
        check(&second.unwrap()),
        Err(VerifyError::Refused { .. })
    ));
}
