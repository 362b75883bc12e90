//! The log, the snapshots and what is kept of them (operations 1.2).

use super::keys::Keys;

/// Settings of the persistence path and of the data tree. Sizes are in bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct StorageSettings {
    /// `snapCount`: a snapshot after half of this many txns, plus a random part of the other half.
    pub snap_count: u32,
    /// `snapCount` is not set: snapshots also wait until the log has become as long as the last
    /// one, so that their cost stays in proportion to what they save at a start.
    pub paces_snapshots: bool,
    /// `snapSizeLimitInKb`: the same by size of the log; `None` is off.
    pub snap_size_limit_bytes: Option<u64>,
    /// `preAllocSize`: the log grows in such steps.
    pub prealloc_bytes: u64,
    /// `txnLogSizeLimitInKb`: a new log file from this size on; `None` is off.
    pub log_roll_bytes: Option<u64>,
    /// `forceSync`: whether a write waits for the disk.
    pub force_sync: bool,
    /// `fsync.warningthresholdms`: a slower sync is logged and counted.
    pub fsync_warning_ms: u32,
    /// `snapshot.compression.method`.
    pub compression: Compression,
    /// `snapshot.trust.empty`: start although there are logs without any snapshot.
    pub trust_empty_snapshot: bool,
    /// `datadir.autocreate`: make missing directories.
    pub autocreate_dirs: bool,
    /// `digest.enabled`: keep a digest of the tree.
    pub digest_enabled: bool,
    /// `closeSessionTxn.enabled`: closeSession txns carry the paths that they delete.
    pub close_session_paths: bool,
    /// `serializeLastProcessedZxid.enabled`: snapshots end with their zxid.
    pub snapshot_has_zxid: bool,
    /// `extendedTypesEnabled`: TTL znodes.
    pub extended_types: bool,
    /// `enforceQuota`: hard quotas reject writes.
    pub enforce_quota: bool,
    /// `skipACL=yes`, given together with `--unsafe`.
    pub skip_acl: bool,
    /// Reaping of containers and TTL znodes.
    pub containers: ContainerSettings,
    /// Removal of old files; `None` is off.
    pub purge: Option<PurgeSettings>,
    /// `jute.maxbuffer`: most bytes of a request.
    pub max_request_bytes: u32,
    /// `jute.maxbuffer.extrasize`: what a record on disk may be larger than that.
    pub extra_record_bytes: u32,
}

/// How snapshots are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Plain.
    None,
    /// `gz`.
    Gzip,
    /// `snappy`.
    Snappy,
}

/// `znode.container.*`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerSettings {
    /// Time between two looks; `None` is off.
    pub check_interval_ms: Option<u64>,
    /// Most deletions in a minute.
    pub max_per_minute: u32,
    /// A container that never had a child is deleted after this time; `None` is never.
    pub max_never_used_ms: Option<u64>,
}

/// `autopurge.*`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PurgeSettings {
    /// Snapshots that are kept, with the logs that belong to them; at least 3.
    pub retain_count: u32,
    /// Time between two purges.
    pub interval_hours: u32,
}

/// Apache keeps at least as many snapshots.
const MIN_RETAIN_COUNT: i32 = 3;
/// Apache's default is 0, never, and disks fill up (operations 1.1); ours is on.
const DEFAULT_PURGE_HOURS: i32 = 1;
/// `jute.maxbuffer` of Apache.
const DEFAULT_MAX_REQUEST_BYTES: u32 = 0xf_ffff;
/// The least extra size that Apache works with.
const MIN_EXTRA_BYTES: u32 = 1024;
const KIB: u64 = 1024;
/// `preAllocSize` of Apache.
const DEFAULT_PREALLOC_KIB: i32 = 65_536;

impl StorageSettings {
    pub(super) fn read(keys: &mut Keys, unsafe_allowed: bool) -> StorageSettings {
        let max_request_bytes =
            keys.num("jute.maxbuffer", DEFAULT_MAX_REQUEST_BYTES, 1024..=i32::MAX as u32);
        let kib = |size: Option<u64>| size.map(|size| size.saturating_mul(KIB));
        StorageSettings {
            snap_count: snap_count(keys),
            paces_snapshots: keys.get("snapCount").is_none(),
            snap_size_limit_bytes: kib(keys.num_or_off("snapSizeLimitInKb", Some(4_194_304))),
            prealloc_bytes: prealloc_bytes(keys),
            log_roll_bytes: kib(keys.num_or_off("txnLogSizeLimitInKb", None)),
            force_sync: force_sync(keys),
            fsync_warning_ms: fsync_warning_ms(keys),
            compression: compression(keys),
            trust_empty_snapshot: keys.java_bool("snapshot.trust.empty", false),
            autocreate_dirs: keys.java_bool("datadir.autocreate", true),
            digest_enabled: keys.java_bool("digest.enabled", true),
            close_session_paths: keys.java_bool("closeSessionTxn.enabled", true),
            snapshot_has_zxid: keys.java_bool("serializeLastProcessedZxid.enabled", true),
            extended_types: keys.java_bool("extendedTypesEnabled", false),
            enforce_quota: keys.java_bool("enforceQuota", false),
            skip_acl: skip_acl(keys, unsafe_allowed),
            containers: ContainerSettings::read(keys),
            purge: PurgeSettings::read(keys),
            max_request_bytes,
            extra_record_bytes: keys
                .num("jute.maxbuffer.extrasize", max_request_bytes, 0..=i32::MAX as u32)
                .max(MIN_EXTRA_BYTES),
        }
    }
}

fn snap_count(keys: &mut Keys) -> u32 {
    let count = keys.num("snapCount", 100_000, i32::MIN..=i32::MAX);
    if count < 2 {
        keys.warn("snapCount", format!("snapCount = {count}: taken as 2, the least, as in Apache"));
    }
    count.max(2).unsigned_abs()
}

/// Apache allocates nothing ahead then; a log of ours needs its length, for the mark at its end.
fn prealloc_bytes(keys: &mut Keys) -> u64 {
    let kib = keys.num("preAllocSize", DEFAULT_PREALLOC_KIB, i32::MIN..=i32::MAX);
    let is_off = kib <= 0;
    if is_off {
        let text = format!(
            "preAllocSize = {kib}: taken as {DEFAULT_PREALLOC_KIB}; a log here has its length from \
             the start, and takes space as it is written"
        );
        keys.warn("preAllocSize", text);
    }
    let kib = if is_off { DEFAULT_PREALLOC_KIB } else { kib };
    u64::from(kib.unsigned_abs()) * KIB
}

fn fsync_warning_ms(keys: &mut Keys) -> u32 {
    let ms = keys.num("fsync.warningthresholdms", 1000, i64::from(i32::MIN)..=u32::MAX.into());
    if ms < 0 {
        let text =
            format!("fsync.warningthresholdms = {ms}: every sync is warned about, as in Apache");
        keys.warn("fsync.warningthresholdms", text);
    }
    u32::try_from(ms).unwrap_or(0)
}

/// Mirrors `SnapStream.StreamMode.fromString`: what it does not know is the default.
fn compression(keys: &mut Keys) -> Compression {
    const KEY: &str = "snapshot.compression.method";
    let Some(value) = keys.get(KEY) else { return Compression::None };
    match value.text.to_ascii_lowercase().as_str() {
        "" => Compression::None,
        "gz" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        _ => {
            let text = format!(
                "{KEY} = {}: no method, so snapshots are not compressed, as in Apache; write gz or \
                 snappy, or remove it",
                value.text
            );
            keys.warn(KEY, text);
            Compression::None
        }
    }
}

fn force_sync(keys: &mut Keys) -> bool {
    let off = keys.is_word("forceSync", "no");
    if off {
        keys.warn(
            "forceSync",
            "forceSync = no: ACKNOWLEDGED WRITES WILL BE LOST when the machine fails, because \
             answers do not wait for the disk; remove it unless all data may be lost",
        );
    }
    !off
}

fn skip_acl(keys: &mut Keys, unsafe_allowed: bool) -> bool {
    let skip = keys.is_word("skipACL", "yes");
    if skip && !unsafe_allowed {
        keys.error(
            "skipACL",
            "skipACL = yes: every client could read and change everything; remove it, or start \
             with --unsafe if that is what you want",
        );
    } else if skip {
        keys.warn("skipACL", "skipACL = yes: ACLs are not checked at all");
    }
    skip && unsafe_allowed
}

impl ContainerSettings {
    fn read(keys: &mut Keys) -> ContainerSettings {
        ContainerSettings {
            check_interval_ms: keys.num_or_off("znode.container.checkIntervalMs", Some(60_000)),
            max_per_minute: keys.num("znode.container.maxPerMinute", 10_000, 1..=60_000),
            max_never_used_ms: keys.num_or_off("znode.container.maxNeverUsedIntervalMs", None),
        }
    }
}

impl PurgeSettings {
    fn read(keys: &mut Keys) -> Option<PurgeSettings> {
        let retain = keys.num("autopurge.snapRetainCount", MIN_RETAIN_COUNT, i32::MIN..=i32::MAX);
        if retain < MIN_RETAIN_COUNT {
            let text = format!(
                "autopurge.snapRetainCount = {retain}: taken as {MIN_RETAIN_COUNT}, the least, as \
                 in Apache"
            );
            keys.warn("autopurge.snapRetainCount", text);
        }
        let retain_count = retain.max(MIN_RETAIN_COUNT).unsigned_abs();
        // As in Apache: whatever is not positive is off.
        let hours = keys.num("autopurge.purgeInterval", DEFAULT_PURGE_HOURS, i32::MIN..=8760);
        (hours > 0).then_some(PurgeSettings { retain_count, interval_hours: hours.unsigned_abs() })
    }
}
