//! The data tree: znodes, ACLs, quotas, watches, digest; pure
