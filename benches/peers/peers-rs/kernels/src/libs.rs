//! MKL, OpenBLAS and oneDNN, taken from the Python environment by dlopen: no Python in the loop.
use std::ffi::{c_char, c_int};

use libloading::Library;
use peers_common::*;

/// Shared libraries of the Python environment ($PEERS_VENV).
pub(crate) struct Libs {
    pub(crate) mkl: Option<Library>,
    pub(crate) openblas: Option<Library>,
    pub(crate) dnnl: Option<Library>,
}

unsafe extern "C" {
    fn sched_getaffinity(pid: c_int, len: usize, mask: *mut u64) -> c_int;
    fn sched_setaffinity(pid: c_int, len: usize, mask: *const u64) -> c_int;
}

fn find(dir: &str, stem: &str) -> Option<std::path::PathBuf> {
    let mut v: Vec<_> = std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(stem)))
        .collect();
    v.sort();
    v.into_iter().next()
}

impl Libs {
    pub(crate) fn open(threads: usize) -> Libs {
        let venv = venv_dir();
        // thread counts must be in the environment before the libraries start
        // (sound: no other thread runs yet)
        unsafe {
            for k in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
                std::env::set_var(k, threads.to_string());
            }
            std::env::set_var("MKL_DYNAMIC", "FALSE");
            if threads == 1 {
                std::env::set_var("MKL_THREADING_LAYER", "SEQUENTIAL");
            }
        }
        // oneDNN needs the TBB next to it
        if let Some(p) = find(&format!("{venv}/lib"), "libtbb.so.12") {
            if let Ok(l) = unsafe { libloading::os::unix::Library::open(Some(p), 0x102) } {
                std::mem::forget(l);
            }
        }
        let site = find(&format!("{venv}/lib"), "python3").map(|p| p.join("site-packages/numpy.libs"));
        unsafe {
            let mkl = find(&format!("{venv}/lib"), "libmkl_rt.so").and_then(|p| Library::new(p).ok());
            let dnnl = find(&format!("{venv}/lib"), "libdnnl.so")
                .and_then(|p| Library::new(p).map_err(|e| eprintln!("oneDNN: {e}")).ok());
            let openblas = site.and_then(|d| {
                let d = d.to_string_lossy().to_string();
                for dep in ["libquadmath", "libgfortran"] {
                    if let Some(p) = find(&d, dep) {
                        std::mem::forget(libloading::os::unix::Library::open(Some(p), 0x102).ok()?);
                    }
                }
                Library::new(find(&d, "libscipy_openblas64_")?).map_err(|e| eprintln!("OpenBLAS: {e}")).ok()
            });
            // TBB sizes its pool by the CPU affinity at its first use: let oneDNN start under the right one
            if let Some(l) = &dnnl {
                let mut old = [0u64; 16];
                let mut few = [0u64; 16];
                if sched_getaffinity(0, 128, old.as_mut_ptr()) > 0 || old[0] != 0 {
                    let mut left = threads;
                    for b in (0..64).rev() {
                        if old[0] >> b & 1 == 1 && left > 0 {
                            few[0] |= 1 << b;
                            left -= 1;
                        }
                    }
                    sched_setaffinity(0, 128, few.as_ptr());
                    if let Ok(f) = l.get::<DnnlSgemm>(b"dnnl_sgemm") {
                        let (a, mut c) = (vec![1f32; 512 * 512], vec![0f32; 512 * 512]);
                        f(
                            b'N' as c_char,
                            b'N' as c_char,
                            512,
                            512,
                            512,
                            1.0,
                            a.as_ptr(),
                            512,
                            a.as_ptr(),
                            512,
                            0.0,
                            c.as_mut_ptr(),
                            512,
                        );
                    }
                    sched_setaffinity(0, 128, old.as_ptr());
                }
            }
            Libs { mkl, openblas, dnnl }
        }
    }
}

pub(crate) type Cblas32 = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    f32,
    *const f32,
    c_int,
    *const f32,
    c_int,
    f32,
    *mut f32,
    c_int,
);
pub(crate) type Cblas64 =
    unsafe extern "C" fn(c_int, c_int, c_int, i64, i64, i64, f32, *const f32, i64, *const f32, i64, f32, *mut f32, i64);
pub(crate) type DnnlSgemm = unsafe extern "C" fn(
    c_char,
    c_char,
    i64,
    i64,
    i64,
    f32,
    *const f32,
    i64,
    *const f32,
    i64,
    f32,
    *mut f32,
    i64,
) -> c_int;
pub(crate) type Packed = (
    unsafe extern "C" fn(c_int, c_int, c_int, c_int) -> usize,
    unsafe extern "C" fn(c_int, c_int, c_int, c_int, c_int, c_int, f32, *const f32, c_int, *mut f32),
    unsafe extern "C" fn(
        c_int,
        c_int,
        c_int,
        c_int,
        c_int,
        c_int,
        *const f32,
        c_int,
        *const f32,
        c_int,
        f32,
        *mut f32,
        c_int,
    ),
);
pub(crate) const ROW: c_int = 101;
pub(crate) const NT: c_int = 111;
