//! Real server processes, ports and clients for tests
