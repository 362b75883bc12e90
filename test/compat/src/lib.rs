//! Differential tests against Apache ZooKeeper
