//! The internal CA is replaced, and clients of every kind of trust are asked at each stage.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::super::{Authority, AuthorityError, CaDir, CaRole, LeafCache, Roots, RotationError, ca_certificates};
use super::clients::{s_client, serve};
use super::{NAME, Pki, text};

/// The CA's directory of a host, and the certificates that clients were given.
struct Host {
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap() };
        host.start(&[NAME]).unwrap();
        host
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca")
    }

    fn start(&self, names: &[&str]) -> Result<Authority, AuthorityError> {
        Authority::load_or_create(&self.ca(), &strings(names), "host1")
    }

    /// As the command does it.
    fn announce(&self, names: &[&str]) -> Result<bool, RotationError> {
        CaDir::open(&self.ca())?.announce(&strings(names), "host1").map(|(_, made)| made)
    }

    fn activate(&self) -> Result<(), RotationError> {
        self.activate_for(&[NAME])
    }

    fn activate_for(&self, names: &[&str]) -> Result<(), RotationError> {
        CaDir::open(&self.ca())?.activate(&strings(names))
    }

    fn roles(&self) -> Vec<CaRole> {
        ca_certificates(&self.ca()).unwrap().iter().map(|certificate| certificate.role).collect()
    }

    /// The certificate with this role, in a file.
    fn install(&self, role: CaRole, name: &str) -> PathBuf {
        let certificates = ca_certificates(&self.ca()).unwrap();
        let found = certificates.iter().find(|certificate| certificate.role == role).unwrap();
        let path = self.dir.path().join(name);
        fs::write(&path, &found.pem).unwrap();
        path
    }

    /// Whether a client that trusts these is served by a daemon that is started now.
    fn serves(&self, trusted: &Path) -> bool {
        let authority = Arc::new(self.start(&[NAME]).unwrap());
        let leaves = LeafCache::new(Arc::clone(&authority), 4).unwrap();
        let pki = Pki { dir: tempfile::tempdir().unwrap(), authority, leaves };
        let trusted = trusted.to_str().unwrap().to_owned();
        let (served, output) = serve(&pki, 1, move |port| s_client(port, &["-CAfile", &trusted, "-servername", NAME]));
        assert_eq!(served[0].is_ok(), output.status.success(), "{served:?} {}", text(&output));
        served[0].is_ok()
    }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn whoever_trusts_both_is_served_at_every_stage_and_others_while_theirs_signs() {
    use CaRole::{Next, Previous, Signs};
    let host = Host::new();
    let old = host.install(Signs, "old.pem");
    assert!(host.serves(&old));
    assert!(host.announce(&[NAME]).unwrap());
    assert_eq!(host.roles(), [Signs, Next]);
    let new = host.install(Next, "new.pem");
    let both = host.dir.path().join("both.pem");
    fs::write(&both, fs::read_to_string(&old).unwrap() + &fs::read_to_string(&new).unwrap()).unwrap();
    assert!(host.serves(&old) && host.serves(&both) && !host.serves(&new), "announced");

    host.activate().unwrap();
    assert_eq!(host.roles(), [Signs, Previous]);
    assert_eq!(fs::read(host.install(Signs, "signs.pem")).unwrap(), fs::read(&new).unwrap());
    assert_eq!(fs::read(host.install(Previous, "previous.pem")).unwrap(), fs::read(&old).unwrap());
    assert!(host.serves(&new) && host.serves(&both) && !host.serves(&old), "activated");

    host.announce(&[NAME]).unwrap();
    host.activate().unwrap();
    assert_eq!(host.roles(), [Signs, Previous, Previous], "as long as they have not expired");
    assert!(!host.serves(&both), "of two rotations ago");
}

#[test]
fn every_file_is_private_and_the_old_key_is_gone() {
    let host = Host::new();
    let old = fs::read(host.ca().join("ca.key")).unwrap();
    host.announce(&[NAME]).unwrap();
    let next = fs::read(host.ca().join("next.key")).unwrap();
    for file in fs::read_dir(host.ca()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600, "{:?}", file.path());
    }
    host.activate().unwrap();
    let mut files: Vec<_> = fs::read_dir(host.ca()).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["ca.key", "ca.pem", "previous.pem"]);
    assert_eq!(fs::read(host.ca().join("ca.key")).unwrap(), next);
    let left = fs::read(host.ca().join("previous.pem")).unwrap();
    assert!(!left.windows(old.len()).any(|window| window == old));
}

#[test]
fn a_name_enrolled_later_is_covered_by_rotating() {
    let host = Host::new();
    let names = [NAME, "api.other.test"];
    let message = host.start(&names).unwrap_err().to_string();
    assert!(message.contains("interceptor ca rotate") && message.contains("--activate"), "{message}");
    host.announce(&names).unwrap();
    assert!(matches!(host.start(&names), Err(AuthorityError::NotCovered { .. })), "not before it signs");
    host.activate().unwrap();
    assert!(host.start(&names).unwrap().covers("api.other.test"));
}

#[test]
fn a_ca_with_which_the_daemon_would_not_start_is_not_activated() {
    let host = Host::new();
    let before = fs::read(host.ca().join("ca.pem")).unwrap();
    host.announce(&["api.other.test"]).unwrap();
    let message = host.activate().unwrap_err().to_string();
    assert!(message.contains(NAME) && message.contains("--discard"), "{message}");
    assert_eq!(fs::read(host.ca().join("ca.pem")).unwrap(), before);
    host.activate_for(&["api.other.test"]).unwrap();
}

#[test]
fn what_was_announced_stays_until_it_is_activated_or_discarded() {
    let host = Host::new();
    assert!(matches!(host.activate(), Err(RotationError::NoNext)));
    assert!(host.announce(&[NAME, "b.test"]).unwrap());
    let next = fs::read(host.ca().join("next.pem")).unwrap();
    assert!(!host.announce(&["b.test", NAME]).unwrap(), "the same names");
    let message = host.announce(&[NAME]).unwrap_err().to_string();
    assert!(message.contains("b.test") && message.contains("--discard"), "{message}");
    assert_eq!(fs::read(host.ca().join("next.pem")).unwrap(), next);
    let held = CaDir::open(&host.ca()).unwrap();
    assert!(held.discard().unwrap() && !held.discard().unwrap());
    drop(held);
    assert_eq!(host.roles(), [CaRole::Signs]);
    assert!(host.announce(&[NAME]).unwrap());
    host.start(&[NAME]).unwrap();
}

#[test]
fn without_a_ca_there_is_nothing_to_rotate() {
    let dir = tempfile::tempdir().unwrap();
    let held = CaDir::open(&dir.path().join("ca")).unwrap();
    assert!(matches!(held.announce(&strings(&[NAME]), "h"), Err(RotationError::NoCa { .. })));
    assert!(ca_certificates(&dir.path().join("none")).unwrap_err().to_string().contains("first start"));
}

/// Every point at which the command can be killed: what is there is used or completed.
#[test]
fn a_rotation_that_was_cut_off_goes_on() {
    // After the key of the announcement.
    let host = Host::new();
    host.announce(&[NAME]).unwrap();
    let key = fs::read(host.ca().join("next.key")).unwrap();
    fs::remove_file(host.ca().join("next.pem")).unwrap();
    host.start(&[NAME]).unwrap();
    host.announce(&[NAME]).unwrap();
    assert_eq!(fs::read(host.ca().join("next.key")).unwrap(), key);
    let new = host.install(CaRole::Next, "new.pem");

    // After the list of previous ones, and in the middle of writing it.
    fs::copy(host.ca().join("ca.pem"), host.ca().join("previous.pem")).unwrap();
    fs::write(host.ca().join("previous.new"), "half a certi").unwrap();
    host.start(&[NAME]).unwrap();
    assert_eq!(host.roles(), [CaRole::Signs, CaRole::Next], "each is listed once");

    // Between the two renames.
    fs::rename(host.ca().join("next.key"), host.ca().join("ca.key")).unwrap();
    host.start(&[NAME]).unwrap();
    assert!(host.serves(&new));
    assert_eq!(host.roles(), [CaRole::Signs, CaRole::Previous]);

    // And the next one is not disturbed.
    host.announce(&[NAME]).unwrap();
    host.activate().unwrap();
    assert_eq!(host.roles(), [CaRole::Signs, CaRole::Previous, CaRole::Previous]);
}

#[test]
fn the_next_key_must_be_the_certificates() {
    let (host, other) = (Host::new(), Host::new());
    host.announce(&[NAME]).unwrap();
    other.announce(&[NAME]).unwrap();
    fs::copy(other.ca().join("next.key"), host.ca().join("next.key")).unwrap();
    let before = fs::read(host.ca().join("ca.pem")).unwrap();
    let message = host.activate().unwrap_err().to_string();
    assert!(message.contains("next.key"), "{message}");
    assert_eq!(fs::read(host.ca().join("ca.pem")).unwrap(), before);
    host.start(&[NAME]).unwrap();
}

#[test]
fn no_certificate_of_the_family_is_an_endpoints_root() {
    let host = Host::new();
    let mut planted = vec![host.install(CaRole::Signs, "1.pem")];
    host.announce(&[NAME]).unwrap();
    host.activate().unwrap();
    planted.push(host.install(CaRole::Signs, "2.pem"));
    host.announce(&[NAME]).unwrap();
    planted.push(host.install(CaRole::Next, "3.pem"));
    let family = host.start(&[NAME]).unwrap();
    assert_eq!(Roots::load(None, &planted, Pki::new().authority.family()).unwrap().len(), 3);
    assert!(Roots::load(None, &planted, family.family()).is_err(), "none is left");
}
