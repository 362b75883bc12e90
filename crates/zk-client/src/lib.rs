//! Async ZooKeeper client
