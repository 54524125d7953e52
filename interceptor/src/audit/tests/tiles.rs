//! The tree as tiles: read by another implementation, used for proofs, lost, damaged, made again.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use tlog_tiles::{HashReader, TileHashReader, TileReader, tlog};

use super::super::subtrees::inclusion;
use super::super::tiles::{Tiles, on_disk};
use super::*;

/// A client that knows the directory and nothing else of ours.
struct Client(PathBuf);

impl TileReader for Client {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &tlog_tiles::Tile| {
            let path = self.0.join(tile.path().replacen("tile/8/", "tile/", 1));
            let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert_eq!(bytes.len(), tile.width() as usize * 32);
            bytes
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

impl Client {
    fn checkpoint(&self) -> (u64, tlog::Hash) {
        let note = fs::read(self.0.join("checkpoint")).unwrap();
        let note = signed_note::Note::from_bytes(&note).unwrap();
        let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        (checkpoint.size(), *checkpoint.hash())
    }

    /// All entries, bundle by bundle.
    fn entries(&self, size: u64) -> Vec<Vec<u8>> {
        let mut entries = Vec::new();
        for number in 0..size.div_ceil(256) {
            let width = size - number * 256;
            let form = if width < 256 { format!(".p/{width}") } else { String::new() };
            let bundle = fs::read(self.0.join(format!("tile/entries/{number:03}{form}"))).unwrap();
            let mut rest = bundle.as_slice();
            while let Some((length, behind)) = rest.split_first_chunk::<2>() {
                let (entry, behind) = behind.split_at(u16::from_be_bytes(*length).into());
                entries.push(entry.to_vec());
                rest = behind;
            }
        }
        entries
    }
}

/// Appends leaves nobody waits for.
fn append(place: &Place, leaves: usize) {
    let log = place.open();
    let worker = BenchLeaves::new(&log).unwrap();
    run(async {
        for n in 0..leaves {
            worker.append(&n.to_le_bytes(), false, n + 1 == leaves).await.unwrap();
        }
    });
    log.close().unwrap();
}

/// A log of 600 leaves and more, in many segments, written by three processes.
fn long() -> Place {
    let place = Place::new();
    place.write(&[&[b"one"], &[b"two"]]);
    append(&place, 253);
    append(&place, 400);
    place.write(&[&[b"three"]]);
    place
}

/// All files below a directory.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(path).unwrap())),
        }
    }
    found
}

/// Opens and closes the log without writing.
fn reopen(place: &Place) {
    place.open().close().unwrap();
}

#[test]
fn another_implementation_reads_tree_and_entries() {
    let place = long();
    let client = Client(place.audit());
    let (size, root) = client.checkpoint();
    assert_eq!(size, 4 + 253 + 400 + 2);
    let hashes = TileHashReader::new(size, root, &client);
    let entries = client.entries(size);
    assert_eq!(entries.len() as u64, size);
    for (index, entry) in (0..).zip(&entries) {
        let proof = tlog::prove_record(size, index, &hashes).unwrap();
        tlog::check_record(&proof, size, root, index, tlog::record_hash(entry)).unwrap();
    }
    for old in (1..=size).step_by(29) {
        let proof = tlog::prove_tree(size, old, &hashes).unwrap();
        let old_root = tlog::tree_hash(old, &hashes).unwrap();
        tlog::check_tree(&proof, size, root, old, old_root).unwrap();
        let ours = place.reader().prove_continuation(old).unwrap();
        assert_eq!(tlog::Hash(ours.1), old_root);
    }
    assert!(hashes.read_hashes(&[tlog::stored_hash_index(8, 1)]).is_ok());
    assert!(place.intact().tiles >= 7);
}

#[test]
fn a_running_log_keeps_up_with_its_checkpoints() {
    let place = Place::new();
    let log = place.open();
    let mut worker = log.worker().unwrap();
    for leaves in [2, 4] {
        run(exchange(&mut worker, &[b"x"]));
        let client = Client(place.audit());
        let tile = place.audit().join(format!("tile/0/000.p/{leaves}"));
        while !tile.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let (size, root) = client.checkpoint();
        assert_eq!(size, leaves);
        assert_eq!(tlog::tree_hash(size, &TileHashReader::new(size, root, &client)).unwrap(), root);
    }
    // Those of earlier checkpoints stay until the tile is full.
    assert!(place.audit().join("tile/entries/000.p/2").exists());
    drop(worker);
    log.close().unwrap();
    append(&place, 252);
    assert!(place.audit().join("tile/entries/000").exists() && !place.audit().join("tile/entries/000.p").exists());
}

#[test]
fn proofs_come_from_tiles_where_they_can_and_else_from_the_whole_log() {
    let place = long();
    let key = place.trust().key;
    let mut reader = place.reader();
    let last = located(&mut reader).pop().unwrap();
    let by_tiles = (reader.prove(&last, true).unwrap(), reader.prove_continuation(100).unwrap());
    assert!(by_tiles.0.verify(&key).is_ok());
    let at = by_tiles.0.verify(&key).unwrap().entry.leaf_index;

    // A tile that says something else leads nowhere.
    let tile = place.audit().join("tile/0/000");
    let good = fs::read(&tile).unwrap();
    let mut bad = good.clone();
    bad[700] ^= 1;
    fs::write(&tile, &bad).unwrap();
    assert!(Tiles::new(at + 1, on_disk(&place.audit())).roots(&inclusion(at, at + 1)).is_some());
    let by_log = || (place.reader().prove(&last, true).unwrap(), place.reader().prove_continuation(100).unwrap());
    assert_eq!(by_log(), by_tiles);
    fs::remove_dir_all(place.audit().join("tile")).unwrap();
    assert_eq!(by_log(), by_tiles);

    // Tiles do without the segments.
    reopen(&place);
    let segments = place.segments();
    fs::rename(&segments[1], place.dir.path().join("away")).unwrap();
    assert_eq!(place.reader().prove_continuation(100).unwrap(), by_tiles.1);
    fs::write(&tile, &bad).unwrap();
    assert!(matches!(place.reader().prove_continuation(100), Err(ReadError::Unprovable)));
}

#[test]
fn what_is_missing_or_wrong_is_made_again() {
    let place = long();
    // Without those of earlier checkpoints.
    fs::remove_dir_all(place.audit().join("tile")).unwrap();
    reopen(&place);
    let good = files(&place.audit().join("tile"));
    assert_eq!(good.len(), 7);
    let tile = |name: &str| place.audit().join("tile").join(name);
    let made_again = |what: &str| {
        reopen(&place);
        assert_eq!(files(&place.audit().join("tile")), good, "{what}");
        assert_eq!(place.intact().tiles, 7, "{what}");
    };
    fs::remove_dir_all(place.audit().join("tile")).unwrap();
    made_again("everything");
    for name in good.keys() {
        fs::remove_file(name).unwrap();
        made_again("a tile");
    }
    for name in ["0/000", "entries/000"] {
        fs::write(tile(name), "").unwrap();
        made_again("an empty file");
    }
    // A hash of a full tile is looked at when the next is computed from it.
    let mut bytes = fs::read(tile("0/001")).unwrap();
    bytes[0] ^= 1;
    fs::write(tile("0/001"), &bytes).unwrap();
    made_again("a damaged tile");
}

#[test]
fn a_tile_that_says_something_else_is_named() {
    let place = long();
    for path in files(&place.audit().join("tile")).into_keys() {
        let good = fs::read(&path).unwrap();
        let name = path.strip_prefix(place.audit()).unwrap().display().to_string();
        for wrong in [
            &good[1..],
            &[],
            &[&good[..], &[0]].concat(),
            &[&good[..good.len() - 1], &[good[good.len() - 1] ^ 1]].concat(),
        ] {
            fs::write(&path, wrong).unwrap();
            let fault = place.faulty();
            assert_eq!(fault.file, name);
            assert!(fault.reason.contains("the log itself is intact"), "{}", fault.reason);
        }
        fs::write(&path, &good).unwrap();
    }
    // More than the log has: of a later state, of which it was put back.
    for extra in ["tile/0/002.p/240", "tile/entries/003", "tile/1/000.p/9", "tile/4/000.p/1"] {
        let path = place.audit().join(extra);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        let fault = place.faulty();
        assert_eq!(fault.file, extra);
        assert!(fault.reason.contains("the log has 659"), "{}", fault.reason);
        fs::remove_file(path).unwrap();
    }
    // What is wrong with the log itself is more important.
    fs::write(place.audit().join("tile/0/000"), "").unwrap();
    let segment = &place.segments()[0];
    let mut bytes = fs::read(segment).unwrap();
    bytes[5000] ^= 1;
    fs::write(segment, bytes).unwrap();
    assert!(Path::new(&place.faulty().file).extension().is_some_and(|extension| extension == "alog"));
}

#[test]
fn tiles_that_cannot_be_written_harm_nothing() {
    let place = Place::new();
    fs::create_dir_all(place.audit()).unwrap();
    let tile = place.audit().join("tile");
    fs::write(&tile, "in the way").unwrap();
    for records in 1..3 {
        place.write(&[&[b"x"]]);
        assert_eq!((place.intact().records, place.intact().tiles), (records, 0));
    }
    fs::remove_file(tile).unwrap();
    reopen(&place);
    assert!(place.intact().tiles >= 2);
}

#[test]
fn tiles_of_another_log_are_replaced() {
    let (place, other) = (long(), long());
    fs::remove_dir_all(place.audit().join("tile")).unwrap();
    copy_dir(&other.audit().join("tile"), &place.audit().join("tile"));
    assert!(place.faulty().file.starts_with("tile/"));
    reopen(&place);
    assert_eq!(place.intact().tiles, 7);
    let aside = |name: &String| name.starts_with("tile.") && name.ends_with(".quarantine");
    assert_eq!(names(&place.audit()).iter().filter(|name| aside(name)).count(), 1);
}

#[test]
fn a_log_whose_frames_were_changed_gets_no_tiles() {
    let place = long();
    fs::remove_dir_all(place.audit().join("tile")).unwrap();
    // Recovery looks at the frames of the newest segments alone; this is `verify`'s to name.
    let first = &place.segments()[0];
    let kept = fs::read(first).unwrap();
    let mut changed = kept.clone();
    changed[header::HEADER + 60] ^= 1;
    fs::write(first, changed).unwrap();
    reopen(&place);
    assert_eq!(files(&place.audit().join("tile")), BTreeMap::new());
    fs::write(first, kept).unwrap();
    reopen(&place);
    assert_eq!(place.intact().tiles, 7);
}

/// Entries have digests of contents, and no contents.
#[test]
fn retention_leaves_tiles_as_they_are() {
    let place = Place::new();
    place.write(&[&[b"a response"], &[b"another"]]);
    place.write(&[&[b"x"]]);
    let before = files(&place.audit().join("tile"));
    let now = Time::from_unix_ns(Time::now().unix_ns() + 40 * 86_400_000_000_000);
    let (dir, keys) = (place.audit(), place.keys());
    let begun = Retention { dir: &dir, keys: &keys, now, clocks: None }.begin().unwrap();
    let ages: Ages = [Class::Prompts, Class::Responses].map(|class| (class, Duration::from_secs(86_400))).into();
    let plan = begun.plan(&Removal::Old(ages), &|_| false).unwrap();
    let who = Author { uid: 0, user: None, reason: "test".into() };
    begun.apply(&plan, &who, &|| ()).unwrap();
    drop(begun);
    let report = place.intact();
    assert!(report.reduced_frames > 0);
    assert_eq!(files(&place.audit().join("tile")), before);
    assert_eq!(report.tiles, before.len() as u64);
    let all = before.values().flatten().copied().collect::<Vec<u8>>();
    for content in [HEAD, BODY, b"a response"] {
        assert!(!all.windows(content.len()).any(|window| window == content));
    }
    // Made anew from what is left, they are the same.
    fs::remove_dir_all(place.audit().join("tile")).unwrap();
    reopen(&place);
    let full = |files: BTreeMap<PathBuf, Vec<u8>>| files.into_values().next_back();
    assert_eq!(full(files(&place.audit().join("tile"))), full(before));
    let mut reader = place.reader();
    let first = nth(&mut reader, 0);
    assert!(reader.prove(&first, true).unwrap().verify(&place.trust().key).is_ok());
}
