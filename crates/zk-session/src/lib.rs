//! Both ends of a ZooKeeper session as pure state machines
