//! What the variables of `[env]` can do to the host.
//!
//! Under a policy, a variable is allowed if it is known to be harmless or if the
//! policy names it. A variable that is known to do harm must be named exactly: a
//! pattern such as `GGML_*` was hardly meant to include it.

/// Variables that choose devices, threads and waiting, and nothing else.
const HARMLESS: [&str; 20] = [
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GGML_CUDA_*",
    "GGML_NO_BACKTRACE",
    "GGML_SCHED_DEBUG",
    "GGML_SYCL_*",
    "GGML_VK_*",
    "GOMP_CPU_AFFINITY",
    "GOMP_SPINCOUNT",
    "GPU_DEVICE_ORDINAL",
    "HIP_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OMP_THREAD_LIMIT",
    "OMP_WAIT_POLICY",
    "ONEAPI_DEVICE_SELECTOR",
    "ROCR_VISIBLE_DEVICES",
];

const LOADS: &str = "it can make the server load arbitrary code";
const SHELL: &str = "it can make an interpreter or a shell run arbitrary code";
const CONFIGURES: &str = "it sets llama-server options that bypass the checks of `[parameters]`";
const NETWORK: &str = "it can send the server's downloads through another host, or make it trust one";
const PLACES: &str = "it changes where programs, libraries or files are looked up or written";

/// Variables that do harm, and why.
const HARMFUL: [(&str, &str); 54] = [
    ("LD_*", LOADS),
    ("DYLD_*", LOADS),
    ("GLIBC_TUNABLES", LOADS),
    ("GCONV_PATH", LOADS),
    ("LOCPATH", LOADS),
    ("NLSPATH", LOADS),
    ("MALLOC_*", LOADS),
    ("GGML_BACKEND_PATH", LOADS),
    ("GGML_BACKEND_DIR", LOADS),
    ("CUDA_INJECTION*", LOADS),
    ("NVTX_INJECTION*", LOADS),
    ("HSA_TOOLS_*", LOADS),
    ("ROCP_*", LOADS),
    ("OMP_TOOL*", LOADS),
    ("OCL_*", LOADS),
    ("OPENCL_*", LOADS),
    ("VK_*", LOADS),
    ("VULKAN_*", LOADS),
    ("UR_*", LOADS),
    ("ZE_*", LOADS),
    ("SYCL_UR_*", LOADS),
    ("OPENSSL_*", LOADS),
    ("PYTHON*", SHELL),
    ("PERL*", SHELL),
    ("RUBY*", SHELL),
    ("NODE_*", SHELL),
    ("JAVA_*", SHELL),
    ("BASH*", SHELL),
    ("ENV", SHELL),
    ("IFS", SHELL),
    ("SHELL*", SHELL),
    ("PS4", SHELL),
    ("PROMPT_COMMAND", SHELL),
    ("GIT_*", SHELL),
    ("LLAMA_*", CONFIGURES),
    ("HERDSMAN_*", CONFIGURES),
    ("HTTP_PROXY", NETWORK),
    ("HTTPS_PROXY", NETWORK),
    ("ALL_PROXY", NETWORK),
    ("http_proxy", NETWORK),
    ("https_proxy", NETWORK),
    ("all_proxy", NETWORK),
    ("HF_*", NETWORK),
    ("MODEL_ENDPOINT", NETWORK),
    ("SSL_*", NETWORK),
    ("CURL_*", NETWORK),
    ("HOSTALIASES", NETWORK),
    ("RES_OPTIONS", NETWORK),
    ("LOCALDOMAIN", NETWORK),
    ("PATH", PLACES),
    ("HOME", PLACES),
    ("TMPDIR", PLACES),
    ("XDG_*", PLACES),
    ("CUDA_CACHE_PATH", PLACES),
];

/// Whether the variable only chooses devices, threads and waiting.
pub(super) fn is_harmless(name: &str) -> bool {
    HARMLESS.iter().any(|pattern| fits(pattern, name))
}

/// The harm that the variable is known to do.
pub(super) fn harm(name: &str) -> Option<&'static str> {
    HARMFUL.iter().find(|(pattern, _)| fits(pattern, name)).map(|(_, why)| *why)
}

fn fits(pattern: &str, name: &str) -> bool {
    super::Pattern::new(pattern).fits(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loading_code_is_harmful_and_choosing_a_gpu_is_not() {
        for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "GGML_BACKEND_PATH", "LLAMA_ARG_TOOLS", "PYTHONPATH"] {
            assert!(harm(name).is_some() && !is_harmless(name), "{name}");
        }
        for name in ["CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "GGML_CUDA_FORCE_MMQ"] {
            assert!(harm(name).is_none() && is_harmless(name), "{name}");
        }
        assert!(harm("MY_VARIABLE").is_none() && !is_harmless("MY_VARIABLE"));
    }

    #[test]
    fn no_variable_is_both_harmless_and_harmful() {
        let both = HARMLESS.iter().find(|name| harm(name).is_some());
        assert_eq!(both, None);
    }
}
