//! Load generator and comparison with Apache ZooKeeper
