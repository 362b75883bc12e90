//! Apache ZooKeeper's files: transaction log and snapshots
