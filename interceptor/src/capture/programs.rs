//! Loading the object, and the pins of its maps and links.

use std::fs::{self, DirBuilder, File};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, CgroupSkbAttachType, Program, ProgramError};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader};
use interceptor_ebpf::{ABI, Offsets, names};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::sys::PinnedLink;
use super::{Error, SnapshotUnsupported, cgroup, events, offsets};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/interceptor-programs.o"));

/// The programs, taken by the kernel's verifier: with snapshots of callers where this kernel allows them.
pub(super) fn verified(pins: &Pins) -> Result<(Ebpf, Result<(), SnapshotUnsupported>), Error> {
    let found = offsets::find();
    let mut ebpf = load(pins, found.as_ref().unwrap_or(&Offsets::OFF))?;
    match (verify(&mut ebpf), found) {
        (Ok(()), found) => Ok((ebpf, found.map(|_| ()))),
        (Err(error), Err(_)) => Err(error),
        (Err(error), Ok(_)) => {
            // Nobody who calls may go uncaptured because not everything can be told of them.
            let mut ebpf = load(pins, &Offsets::OFF)?;
            verify(&mut ebpf)?;
            Ok((ebpf, Err(SnapshotUnsupported::Verifier(error.to_string()))))
        }
    }
}

/// Parses the object and makes its maps, or finds those of an earlier process at their pins.
fn load(pins: &Pins, offsets: &Offsets) -> Result<Ebpf, Error> {
    let level = events::level();
    let mut loader = EbpfLoader::new();
    loader.override_global(aya_log::LEVEL, &level, true);
    loader.override_global(names::SNAPSHOT_OFFSETS, offsets, true);
    let netns_of_packet =
        u8::from(KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 15, 0)));
    loader.override_global(names::NETNS_OF_PACKET, &netns_of_packet, true);
    for name in names::MAPS {
        loader.map_pin_path(name, pins.map(name));
    }
    loader.load(OBJECT).map_err(|cause| Error::Load { cause: Box::new(cause) })
}

/// Hands every program to the kernel's verifier.
fn verify(ebpf: &mut Ebpf) -> Result<(), Error> {
    names::PROGRAMS.into_iter().try_for_each(|name| load_program(program(ebpf, name)?).map_err(Error::program(name)))
}

/// The directory of one instance and layout version on a BPF file system.
pub(super) struct Pins {
    instance: PathBuf,
    version: PathBuf,
}

impl Pins {
    pub(super) fn open(instance: &Path) -> Result<Self, Error> {
        let version = instance.join(format!("v{ABI}"));
        let pins = Self { instance: instance.to_path_buf(), version };
        require_bpffs(instance)?;
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        for directory in [pins.maps(), pins.links()] {
            private.create(&directory).map_err(Error::file(&directory))?;
        }
        Ok(pins)
    }

    /// Holds the directory until the file is closed.
    pub(super) fn lock(&self) -> Result<File, Error> {
        lock(&self.version)
    }

    /// Whether an earlier process left something attached.
    pub(super) fn any_link(&self) -> bool {
        names::PROGRAMS.iter().any(|name| self.link(name).exists())
    }

    /// Puts every program in force: in the pinned link when that is at the same cgroup, else through a new link that
    /// is pinned before an old one goes.
    pub(super) fn attach(&self, ebpf: &mut Ebpf, cgroup: &File) -> Result<(), Error> {
        let cgroup_id = cgroup::id(cgroup, Path::new("cgroup"))?;
        for name in names::PROGRAMS {
            self.put_in_force(name, program(ebpf, name)?, cgroup, cgroup_id)?;
        }
        Ok(())
    }

    fn put_in_force(
        &self,
        name: &'static str,
        program: &mut Program,
        cgroup: &File,
        cgroup_id: u64,
    ) -> Result<(), Error> {
        let at = self.link(name);
        if let Some(link) = PinnedLink::open(&at)?
            && link.cgroup_id()? == cgroup_id
        {
            return link.update(program.fd().map_err(Error::program(name))?.as_fd());
        }
        let link = attach(program, cgroup).map_err(Error::program(name))?;
        let fresh = self.fresh_link(name);
        // Left over from a process that died between pin and rename.
        remove_if_present(&fresh)?;
        link.pin(&fresh).map_err(|cause| Error::Pin { path: fresh.clone(), cause: Box::new(cause) })?;
        fs::rename(&fresh, &at).map_err(Error::file(at))
    }

    /// Detaches and removes everything, the redirecting programs first.
    pub(super) fn remove(&self) -> Result<(), Error> {
        let removed = remove_version(&self.version);
        removed.and(fs::remove_dir(&self.instance).map_err(Error::file(&self.instance)))
    }

    fn maps(&self) -> PathBuf {
        self.version.join("maps")
    }

    fn links(&self) -> PathBuf {
        self.version.join("links")
    }

    fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    /// Where a new link is pinned before it takes the old one's place.
    fn fresh_link(&self, name: &str) -> PathBuf {
        self.links().join(format!("{name}-new"))
    }
}

/// Checked before anything is made: the nearest directory that exists must be on a BPF file system.
fn require_bpffs(instance: &Path) -> Result<(), Error> {
    let path = || instance.to_path_buf();
    let existing =
        instance.ancestors().find(|ancestor| ancestor.is_dir()).ok_or_else(|| Error::NotBpffs { path: path() })?;
    let kind = statfs(existing).map_err(|errno| Error::file(existing)(errno.into()))?.filesystem_type();
    if kind != BPF_FS_MAGIC {
        return Err(Error::NotBpffs { path: path() });
    }
    let below = instance.strip_prefix(existing).unwrap_or(instance);
    if below.as_os_str().as_encoded_bytes().contains(&b'.') {
        return Err(Error::PinName { path: path() });
    }
    Ok(())
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Program, Error> {
    ebpf.program_mut(name).ok_or(Error::Object { what: name })
}

fn load_program(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::SockOps(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn attach(program: &mut Program, cgroup: &File) -> Result<FdLink, ProgramError> {
    // `Single` means no flags, the only value BPF_LINK_CREATE takes; links stack with those of others all the same.
    const MODE: CgroupAttachMode = CgroupAttachMode::Single;
    let link = match program {
        Program::CgroupSockAddr(program) => {
            let id = program.attach(cgroup, MODE)?;
            FdLink::try_from(program.take_link(id)?)
        }
        Program::CgroupSock(program) => {
            let id = program.attach(cgroup, MODE)?;
            FdLink::try_from(program.take_link(id)?)
        }
        Program::SockOps(program) => {
            let id = program.attach(cgroup, MODE)?;
            FdLink::try_from(program.take_link(id)?)
        }
        Program::CgroupSkb(program) => {
            let id = program.attach(cgroup, CgroupSkbAttachType::Ingress, MODE)?;
            FdLink::try_from(program.take_link(id)?)
        }
        _ => return Err(ProgramError::UnexpectedProgramType),
    };
    // Only before Linux 5.7.
    link.map_err(|_| ProgramError::NotAttached)
}

/// Holds the pins of a layout version until the file is closed.
pub(super) fn lock(version: &Path) -> Result<File, Error> {
    let directory = File::open(version).map_err(Error::file(version))?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(fs::TryLockError::WouldBlock) => Err(Error::InUse { path: version.to_path_buf() }),
        Err(fs::TryLockError::Error(error)) => Err(Error::file(version)(error)),
    }
}

/// Detaches and removes what is pinned below `version`, by whichever program it was made, the redirecting programs first.
pub(super) fn remove_version(version: &Path) -> Result<(), Error> {
    let (links, maps) = (version.join("links"), version.join("maps"));
    let mut attached = entries(&links)?;
    let order = |path: &PathBuf| names::PROGRAMS.iter().rposition(|name| path.ends_with(name));
    attached.sort_by_key(|path| std::cmp::Reverse(order(path)));
    let mut result = Ok(());
    for link in attached {
        result = result.and(detach(&link)).and(remove_if_present(&link));
    }
    for map in entries(&maps)? {
        result = result.and(remove_if_present(&map));
    }
    for directory in [&links, &maps, &version.to_path_buf()] {
        result = result.and(fs::remove_dir(directory).map_err(Error::file(directory)));
    }
    result
}

/// What a directory holds, sorted; nothing when there is none.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(Error::file(directory))?,
    };
    let mut paths = Vec::new();
    for entry in listed {
        paths.push(entry.map_err(Error::file(directory))?.path());
    }
    paths.sort();
    Ok(paths)
}

fn detach(at: &Path) -> Result<(), Error> {
    match PinnedLink::open(at)? {
        // A link whose cgroup is gone is detached already.
        Some(link) if link.cgroup_id()? != 0 => link.detach(),
        _ => Ok(()),
    }
}

fn remove_if_present(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path)(error)),
        _ => Ok(()),
    }
}
