//! Compressed bodies.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// A body that does not compress to nothing.
fn text(length: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(7);
    let noise: String = std::iter::repeat_with(|| rng.alphanumeric()).take(length).collect();
    format!(r#"{{"prompt":"{noise}{}","model":"m","stream":true}}"#, "again ".repeat(length / 6))
}

async fn decoded(encoding: &str, body: &[u8], cut: usize, most: u64) -> Result<(Named, Vec<u8>), NamingError> {
    let settings = Serve { max_body: Some(most), ..Serve::default() };
    let length = body.len().to_string();
    let parts = parts("POST", "/", &[("content-encoding", encoding), ("content-length", &length)]);
    let named = name(&parts, Arriving::cut(body, cut), &settings, &Spool::default()).await?;
    let (mut attempt, mut sent) = (named.body.attempt(), Vec::new());
    while let Some(chunk) = attempt.next().await {
        sent.extend_from_slice(&chunk?);
    }
    Ok((named, sent))
}

#[tokio::test]
async fn decodes_every_encoding_wherever_it_is_cut() {
    let text = text(2_000);
    let bytes = text.as_bytes();
    let frames = [&zstd(&bytes[..1000]), &b"\x50\x2a\x4d\x18\x03\0\0\0abc"[..], &zstd(&bytes[1000..])].concat();
    let members = [gzip(&bytes[..1000]), gzip(&bytes[1000..])].concat();
    let cases = [
        ("gzip", gzip(bytes)),
        ("X-Gzip", members),
        ("deflate", zlib(bytes)),
        ("deflate", raw(bytes)),
        ("zstd", zstd(bytes)),
        ("zstd", frames),
        ("identity, gzip, zstd", zstd(&gzip(bytes))),
        ("zstd,deflate", zlib(&zstd(bytes))),
        ("zstd", include_bytes!("../../../../../tests/corpus/request/level-19.zst").to_vec()),
    ];
    for (encoding, body) in cases {
        for cut in [1, 2, 3, 5, 100, body.len()] {
            let (named, sent) = decoded(encoding, &body, cut, 1 << 20).await.unwrap();
            assert_eq!(named.model.as_deref(), Some("m"), "{encoding} by {cut}");
            assert!(named.decoded && named.streams);
            assert_eq!(named.length, Some(sent.len() as u64));
            assert!(sent == bytes || encoding == "zstd", "{encoding} by {cut}");
            assert!(serde_json::from_slice::<serde_json::Value>(&sent).is_ok(), "{encoding} by {cut}");
        }
    }
}

#[tokio::test]
async fn an_unencoded_body_is_not_decoded() {
    for encoding in ["identity", "", " , "] {
        let (named, sent) = decoded(encoding, br#"{"model":"m"}"#, 4, 100).await.unwrap();
        assert_eq!((named.decoded, named.length, sent.len()), (false, Some(13), 13));
    }
}

#[tokio::test]
async fn refuses_damaged_and_unknown_encodings() {
    let text = text(2_000);
    let (gzip, zstd) = (gzip(text.as_bytes()), zstd(text.as_bytes()));
    let wide = b"\x28\xb5\x2f\xfd\x00\xb0\x01\x00\x00";
    let huge = b"\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x00\x00";
    let many = "gzip, gzip, gzip, gzip, gzip";
    let cases: [(&str, &[u8], u16); 9] = [
        ("gzip", &gzip[..gzip.len() - 5], 400),
        ("gzip", &zstd, 400),
        ("zstd", &zstd[..zstd.len() - 5], 400),
        ("zstd", &gzip, 400),
        ("zstd", wide, 400),
        ("zstd", huge, 400),
        ("deflate", b"\x78\x9c\xff\xff\xff", 400),
        ("gzip, br", &gzip, 415),
        (many, &gzip, 415),
    ];
    for (encoding, body, status) in cases {
        for cut in [1, body.len()] {
            let error = decoded(encoding, body, cut, 1 << 20).await.map(|_| ()).unwrap_err();
            assert_eq!(error.status().as_u16(), status, "{encoding} {error}");
        }
    }
}

#[test]
fn a_bomb_is_refused_in_little_memory() {
    let zeros = vec![0; 64 << 20];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
        ("zstd", zstd(&zeros)),
    ];
    drop(zeros);
    for (encoding, bomb) in bombs {
        assert!(bomb.len() < 100 << 10, "{encoding} is a bomb: {}", bomb.len());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let work = || runtime.block_on(decoded(encoding, &bomb, 16 << 10, 8 << 20)).map(|_| ());
        let (result, peak) = crate::hostile::peak_of(work);
        assert!(matches!(result, Err(NamingError::TooLarge(_))), "{encoding}: {result:?}");
        assert!(peak < 28 << 20, "{encoding} took {} MiB", peak >> 20);
    }
}
