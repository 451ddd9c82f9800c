//! Which of herdsman's own environment variables a llama-server inherits: the same
//! ones for a dry run and for an instance, so that a command line behaves the same
//! in both.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Variables inherited by name: they help to find programs, libraries, files and
/// certificates, and to reach the servers that models are downloaded from.
///
/// Left out on purpose: `LLAMA_*` (configures the server behind the definition's
/// back; `LLAMA_CACHE` belongs in `[env]`), `HF_TOKEN` (belongs in `[secrets]`),
/// `NOTIFY_SOCKET` and `WATCHDOG_*` (herdsman's own).
const INHERITED: &[&str] = &[
    "ALL_PROXY",
    "HF_ENDPOINT",
    "HF_HOME",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LD_LIBRARY_PATH",
    "NO_PROXY",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Variables inherited by prefix: the locale and the GPU stacks.
const INHERITED_PREFIXES: &[&str] = &[
    "AMD_", "CUDA_", "DRI_", "GGML_", "GPU_", "HIP_", "HSA_", "LC_", "MESA_", "NVIDIA_", "ONEAPI_", "RADV_", "ROCM_",
    "ROCR_", "ROC_", "SYCL_", "UR_", "VK_", "XDG_", "ZES_", "ZE_",
];

/// Returns the environment of a llama-server that runs for no definition.
pub(super) fn environment() -> BTreeMap<OsString, OsString> {
    let mut environment: BTreeMap<_, _> = std::env::vars_os().filter(|(name, _)| is_inherited(name)).collect();
    // Without it, an abort starts gdb, which takes half a second.
    environment.insert("GGML_NO_BACKTRACE".into(), "1".into());
    environment
}

/// Whether a llama-server inherits the variable `name`.
pub(crate) fn is_inherited(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        INHERITED.contains(&name) || INHERITED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}
