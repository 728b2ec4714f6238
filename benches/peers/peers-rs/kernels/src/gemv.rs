//! `y = W x` with weights in half precision.
use std::ffi::c_int;
use std::hint::black_box;

use half::f16;
use libloading::Symbol;
use peers_common::*;

use crate::libs::{Libs, NT, ROW};

pub(crate) fn gemv_f16(ctx: &Ctx, case: &Case, libs: &Libs, k: usize, n: usize) {
    let mut r = Rng(3);
    let x = r.vec(k);
    let w: Vec<f16> = (0..k * n).map(|_| f16::from_f32(r.f32() * 0.05)).collect(); // [n][k]: one row per output
    let want: Vec<f64> = (0..n).map(|j| (0..k).map(|p| w[j * k + p].to_f32() as f64 * x[p] as f64).sum()).collect();
    let err = |y: &[f32]| {
        let e = y.iter().zip(&want).fold(0f64, |a, (g, w)| a.max((*g as f64 - w).abs()));
        json!({"max_err": (e * 1e6).round() / 1e6})
    };
    let xh: Vec<f16> = x.iter().map(|v| f16::from_f32(*v)).collect();
    let mut yh = vec![f16::ZERO; n];
    let par = if ctx.threads == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(ctx.threads) };
    // y[1,n] = x[1,k] * W^T; W^T has row stride 1, column stride k
    let run = |y: &mut [f16]| unsafe {
        gemm::gemm(
            1,
            n,
            k,
            y.as_mut_ptr(),
            1,
            n as isize,
            false,
            xh.as_ptr(),
            1,
            k as isize,
            w.as_ptr(),
            k as isize,
            1,
            f16::ZERO,
            f16::ONE,
            false,
            false,
            false,
            par,
        )
    };
    run(&mut yh);
    let yf: Vec<f32> = yh.iter().map(|v| v.to_f32()).collect();
    ctx.bench(case, "gemm-0.19(f16 in and out)", err(&yf), || run(black_box(&mut yh)));

    let mut y = vec![0f32; n];
    if ctx.threads == 1 {
        use simsimd::SpatialSimilarity;
        let ws: &[simsimd::f16] = unsafe { std::slice::from_raw_parts(w.as_ptr() as *const simsimd::f16, w.len()) };
        let xs: &[simsimd::f16] = unsafe { std::slice::from_raw_parts(xh.as_ptr() as *const simsimd::f16, xh.len()) };
        let run = |y: &mut [f32]| {
            for (j, o) in y.iter_mut().enumerate() {
                *o = <simsimd::f16 as SpatialSimilarity>::dot(&ws[j * k..(j + 1) * k], xs).unwrap() as f32;
            }
        };
        run(&mut y);
        ctx.bench(case, "simsimd-6.5(dot per row, f16 x)", err(&y), || run(black_box(&mut y)));

        let ws: &[numkong::f16] = unsafe { std::slice::from_raw_parts(w.as_ptr() as *const numkong::f16, w.len()) };
        let xs: &[numkong::f16] = unsafe { std::slice::from_raw_parts(xh.as_ptr() as *const numkong::f16, xh.len()) };
        let run = |y: &mut [f32]| {
            for (j, o) in y.iter_mut().enumerate() {
                use numkong::Dot;
                *o = numkong::f16::dot(&ws[j * k..(j + 1) * k], xs).unwrap() as f32;
            }
        };
        run(&mut y);
        ctx.bench(case, "numkong-7.8(dot per row, f16 x)", err(&y), || run(black_box(&mut y)));

        // plain Rust: `half` converts a row, then a dot product
        use half::slice::HalfFloatSliceExt;
        let mut row = vec![0f32; k];
        let mut run = |y: &mut [f32]| {
            for (j, o) in y.iter_mut().enumerate() {
                w[j * k..(j + 1) * k].convert_to_f32_slice(&mut row);
                let mut acc = [0f32; 16];
                for (a, b) in row.chunks_exact(16).zip(x.chunks_exact(16)) {
                    for l in 0..16 {
                        acc[l] += a[l] * b[l];
                    }
                }
                *o = acc.iter().sum();
            }
        };
        run(&mut y);
        ctx.bench(case, "half-2.7+scalar-loop", err(&y), || run(black_box(&mut y)));
    }
    // for scale: the same GEMV with f32 weights (twice the bytes)
    if let Some(l) = &libs.mkl {
        type Gemv = unsafe extern "C" fn(
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
        let wf: Vec<f32> = w.iter().map(|v| v.to_f32()).collect();
        unsafe {
            let f: Symbol<Gemv> = l.get(b"cblas_sgemv").unwrap();
            let run = |y: &mut [f32]| {
                f(ROW, NT, n as c_int, k as c_int, 1.0, wf.as_ptr(), k as c_int, x.as_ptr(), 1, 0.0, y.as_mut_ptr(), 1)
            };
            run(&mut y);
            ctx.bench(case, "mkl-sgemv(f32 weights, for scale)", err(&y), || run(black_box(&mut y)));
        }
    }
}
