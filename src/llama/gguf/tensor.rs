//! Computes where a tensor's data end.

use std::io::Read;

use super::{Flaw, Header, MOST_DIMENSIONS};

/// Elements per block and bytes per block of the tensor types in use, by number
/// (`enum ggml_type` in `ggml.h`; sizes of the `block_*` in `ggml-common.h`).
/// Numbers that are not here, such as 40 and above, are newer or withdrawn.
const TYPES: [(u32, u64, u64); 32] = [
    (0, 1, 4),      // F32
    (1, 1, 2),      // F16
    (2, 32, 18),    // Q4_0
    (3, 32, 20),    // Q4_1
    (6, 32, 22),    // Q5_0
    (7, 32, 24),    // Q5_1
    (8, 32, 34),    // Q8_0
    (9, 32, 36),    // Q8_1
    (10, 256, 84),  // Q2_K
    (11, 256, 110), // Q3_K
    (12, 256, 144), // Q4_K
    (13, 256, 176), // Q5_K
    (14, 256, 210), // Q6_K
    (15, 256, 292), // Q8_K
    (16, 256, 66),  // IQ2_XXS
    (17, 256, 74),  // IQ2_XS
    (18, 256, 98),  // IQ3_XXS
    (19, 256, 50),  // IQ1_S
    (20, 32, 18),   // IQ4_NL
    (21, 256, 110), // IQ3_S
    (22, 256, 82),  // IQ2_S
    (23, 256, 136), // IQ4_XS
    (24, 1, 1),     // I8
    (25, 1, 2),     // I16
    (26, 1, 4),     // I32
    (27, 1, 8),     // I64
    (28, 1, 8),     // F64
    (29, 256, 56),  // IQ1_M
    (30, 1, 2),     // BF16
    (34, 256, 54),  // TQ1_0
    (35, 256, 66),  // TQ2_0
    (39, 32, 17),   // MXFP4
];

/// Reads one tensor info and returns where its data end, counted from the start of
/// all data; or where they start, if the type is unknown: a newer llama-server may
/// know it.
pub(super) fn info_end(header: &mut Header<impl Read>) -> Result<u64, Flaw> {
    let name = header.u64()?;
    header.skip(name)?;
    let dimensions = header.u32()?;
    if dimensions > MOST_DIMENSIONS {
        return Err(Flaw::Damaged("a tensor has more than 4 dimensions"));
    }
    let mut elements = Some(1_u64);
    for _ in 0..dimensions {
        let size = header.u64()?;
        elements = elements.and_then(|elements| elements.checked_mul(size));
    }
    let (kind, offset) = (header.u32()?, header.u64()?);
    let bytes = match TYPES.iter().find(|(number, ..)| *number == kind) {
        Some((_, block, bytes)) => elements.and_then(|elements| elements.div_ceil(*block).checked_mul(*bytes)),
        None => Some(0),
    };
    bytes.and_then(|bytes| bytes.checked_add(offset)).ok_or(Flaw::Damaged("a tensor's offset is larger than any file"))
}
