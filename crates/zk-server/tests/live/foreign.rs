//! Foreign clients over TLS and SASL.
