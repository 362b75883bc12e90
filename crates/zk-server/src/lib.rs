//! The ZooKeeper server shell around the pure cores
