//! TLS: HTTP/2 and HTTP/1.1, as the client chooses.
