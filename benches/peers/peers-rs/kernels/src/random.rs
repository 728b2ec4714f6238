//! Random words and numbers, and a dropout made of them.
use std::ffi::{c_int, c_void};
use std::hint::black_box;

use libloading::Symbol;
use peers_common::*;

use crate::libs::Libs;

/// MKL VSL: Philox4x32x10 stream.
fn vsl(ctx: &Ctx, case: &Case, libs: &Libs, n: usize, float: bool) {
    let Some(l) = &libs.mkl else { return };
    unsafe {
        let new: Symbol<unsafe extern "C" fn(*mut *mut c_void, c_int, u32) -> c_int> = l.get(b"vslNewStream").unwrap();
        let bits: Symbol<unsafe extern "C" fn(c_int, *mut c_void, c_int, *mut u32) -> c_int> =
            l.get(b"viRngUniformBits32").unwrap();
        let uni: Symbol<unsafe extern "C" fn(c_int, *mut c_void, c_int, *mut f32, f32, f32) -> c_int> =
            l.get(b"vsRngUniform").unwrap();
        for (name, brng) in [
            ("mkl-vsl-philox4x32x10", 16i32 << 20),
            ("mkl-vsl-mcg59(not philox)", 4 << 20),
            ("mkl-vsl-sfmt19937(not philox)", 13 << 20),
        ] {
            let mut s: *mut c_void = std::ptr::null_mut();
            let rc = new(&mut s, brng, 1);
            if rc != 0 {
                ctx.error(case, name, format!("vslNewStream: {rc}"));
                continue;
            }
            if float {
                let mut y = vec![0f32; n];
                let rc = uni(0, s, n as c_int, y.as_mut_ptr(), 0.0, 1.0);
                if rc != 0 {
                    ctx.error(case, name, rc);
                    continue;
                }
                let mean = y.iter().map(|v| *v as f64).sum::<f64>() / n as f64;
                ctx.bench(case, name, json!({"mean": mean}), || {
                    uni(0, s, n as c_int, black_box(y.as_mut_ptr()), 0.0, 1.0);
                });
            } else {
                let mut y = vec![0u32; n];
                let rc = bits(0, s, n as c_int, y.as_mut_ptr());
                if rc != 0 {
                    ctx.error(case, name, rc);
                    continue;
                }
                ctx.bench(case, name, json!({}), || {
                    bits(0, s, n as c_int, black_box(y.as_mut_ptr()));
                });
            }
        }
    }
}

pub(crate) fn rng_case(ctx: &Ctx, case: &Case, libs: &Libs, n: usize, float: bool) {
    if ctx.threads != 1 {
        return; // these generators are single-threaded
    }
    let mut g = rand_philox::Philox::from_u64_seed(42);
    if float {
        let (mut w, mut y) = (vec![0u32; 4096], vec![0f32; n]);
        ctx.bench(case, "rand_philox-0.2(fill + u32_to_unit_f32)", json!({}), || {
            for c in y.chunks_mut(4096) {
                g.fill_u32(&mut w[..c.len()]);
                for (o, v) in c.iter_mut().zip(&w) {
                    *o = rand_philox::u32_to_unit_f32(*v);
                }
            }
            black_box(&mut y);
        });
    } else {
        let mut y = vec![0u32; n];
        ctx.bench(case, "rand_philox-0.2", json!({}), || g.fill_u32(black_box(&mut y)));
    }
    vsl(ctx, case, libs, n, float);
}

/// Dropout forward out of parts: VSL random bits and a plain loop (what a careful user would write).
pub(crate) fn dropout(ctx: &Ctx, case: &Case, libs: &Libs, n: usize) {
    if ctx.threads != 1 {
        return;
    }
    let x = Rng(5).vec(n);
    let (mut y, mut mask, mut w) = (vec![0f32; n], vec![0u8; n], vec![0u32; 8192]);
    let mut g = rand_philox::Philox::from_u64_seed(42);
    let mut apply = |fill: &mut dyn FnMut(&mut [u32])| {
        for ((c, o), m) in x.chunks(8192).zip(y.chunks_mut(8192)).zip(mask.chunks_mut(8192)) {
            let w = &mut w[..c.len()];
            fill(w);
            for i in 0..c.len() {
                let keep = w[i] >= 0x8000_0000;
                m[i] = keep as u8;
                o[i] = if keep { c[i] * 2.0 } else { 0.0 };
            }
        }
        black_box((&mut y, &mut mask));
    };
    ctx.bench(case, "rand_philox-0.2+loop", json!({}), || apply(&mut |w| g.fill_u32(w)));
    if let Some(l) = &libs.mkl {
        unsafe {
            let new: Symbol<unsafe extern "C" fn(*mut *mut c_void, c_int, u32) -> c_int> =
                l.get(b"vslNewStream").unwrap();
            let bits: Symbol<unsafe extern "C" fn(c_int, *mut c_void, c_int, *mut u32) -> c_int> =
                l.get(b"viRngUniformBits32").unwrap();
            let mut s: *mut c_void = std::ptr::null_mut();
            if new(&mut s, 16 << 20, 1) == 0 {
                ctx.bench(case, "mkl-vsl-philox+loop", json!({}), || {
                    apply(&mut |w| {
                        bits(0, s, w.len() as c_int, w.as_mut_ptr());
                    })
                });
            }
        }
    }
}
