//! What each connection string means, and which are refused.

use super::*;

fn tls(text: &str) -> Result<Tls, TlsError> {
    let split = Split::of(text);
    let mut config = split.rest.parse().expect("the rest is the driver's");
    Tls::of(&split, &mut config)
}

fn plan(text: &str) -> Result<Plan, TlsError> {
    Plan::read(&Split::of(text))
}

fn refused(text: &str) -> String {
    tls(text).err().expect("it is refused").to_string()
}

#[test]
fn modes_and_authorities() {
    let ca = || Some(Authorities::File("/ca.pem".into()));
    for (text, mode, authorities) in [
        ("", Mode::Prefer, None),
        ("sslmode=disable", Mode::Disable, None),
        ("sslmode=prefer", Mode::Prefer, None),
        ("sslmode=require", Mode::Require, None),
        ("sslmode=verify-full", Mode::VerifyFull, Some(Authorities::System)),
        ("sslrootcert=/ca.pem", Mode::VerifyFull, ca()),
        ("sslrootcert=system", Mode::VerifyFull, Some(Authorities::System)),
        ("sslmode=require&sslrootcert=/ca.pem", Mode::VerifyCa, ca()),
        ("sslmode=verify-ca&sslrootcert=/ca.pem", Mode::VerifyCa, ca()),
        ("sslmode=verify-full&sslrootcert=/ca.pem", Mode::VerifyFull, ca()),
    ] {
        let plan = plan(&format!("postgres://h/d?{text}")).unwrap();
        assert_eq!((plan.mode, plan.authorities), (mode, authorities), "{text}");
    }
}

#[test]
fn what_would_not_be_checked_is_refused() {
    for (text, because) in [
        ("sslmode=allow", "`sslmode` has a value that is not known"),
        ("sslmode=verify_full", "`verify-full`"),
        ("sslmode=prefer&sslrootcert=/ca.pem", "no effect with `sslmode=prefer`"),
        ("sslmode=disable&sslrootcert=/ca.pem", "no effect with `sslmode=disable`"),
        ("sslmode=verify-ca", "certify everybody"),
        ("sslmode=verify-ca&sslrootcert=system", "certify everybody"),
        ("sslmode=require&sslrootcert=system", "certify everybody"),
        ("sslcert=/c.pem", "belong together"),
        ("sslnegotiation=direct", "at least `sslmode=require`"),
        ("sslrootcert=/nowhere/ca.pem", "`sslrootcert` names `/nowhere/ca.pem`, which cannot be used: No such file"),
    ] {
        let error = refused(&format!("postgres://h/d?{text}"));
        assert!(error.contains(because), "{text}: {error}");
    }
}

#[test]
fn files_that_are_no_certificates_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let url = format!("postgres://h/d?sslrootcert={}", file.path().display());
    std::fs::write(&file, "not a certificate").unwrap();
    assert!(refused(&url).contains("no certificate in PEM format"));
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    assert!(refused(&url).contains("damaged"));
    let key = format!("postgres://h/d?sslmode=require&sslcert={0}&sslkey={0}", file.path().display());
    assert!(refused(&key).contains("`sslcert` names"));
}

#[test]
fn a_unix_socket_needs_no_tls() {
    let split = Split::of("host=/run/postgresql sslmode=verify-full");
    let mut config = split.rest.parse().unwrap();
    assert_eq!(Tls::of(&split, &mut config).unwrap().parameters(), "");
    assert_eq!(config.get_ssl_mode(), SslMode::Disable);
}

#[test]
fn another_program_is_told_the_same() {
    let parameters = |text: &str| tls(&format!("postgres://h/d?{text}")).unwrap().parameters();
    assert_eq!(parameters(""), "");
    assert_eq!(parameters("sslmode=require"), "?sslmode=require");
    assert_eq!(parameters("sslmode=disable"), "?sslmode=disable");
}
