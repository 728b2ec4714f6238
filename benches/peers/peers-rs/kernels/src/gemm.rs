//! `C = A B` in f32.
use std::ffi::{c_char, c_int};
use std::hint::black_box;

use libloading::Symbol;
use peers_common::*;

use crate::libs::{Cblas32, Cblas64, DnnlSgemm, Libs, NT, Packed, ROW};

fn verify(a: &[f32], b: &[f32], c: &[f32], k: usize, n: usize) -> Value {
    // a few entries against f64
    let m = c.len() / n;
    let mut err = 0f64;
    for t in 0..16usize {
        let (i, j) = ((t * 7919) % m, (t * 104_729 + 13) % n);
        let want: f64 = (0..k).map(|p| a[i * k + p] as f64 * b[p * n + j] as f64).sum();
        err = err.max((want - c[i * n + j] as f64).abs());
    }
    if !(err < 1e-4 * (k as f64)) {
        eprintln!("WRONG GEMM RESULT k={k} n={n}: {err}");
    }
    json!({"max_err": (err * 1e8).round() / 1e8})
}

pub(crate) fn gemm_case(ctx: &Ctx, case: &Case, libs: &Libs, m: usize, k: usize, n: usize) {
    let mut r = Rng(7);
    let (a, b) = (r.vec(m * k), r.vec(k * n));
    let mut c = vec![0f32; m * n];
    let t = ctx.threads;
    let (ki, ni) = (k as isize, n as isize);

    let par = if t == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(t) };
    let run = |c: &mut [f32]| unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            ni,
            false,
            a.as_ptr(),
            1,
            ki,
            b.as_ptr(),
            1,
            ni,
            0f32,
            1f32,
            false,
            false,
            false,
            par,
        )
    };
    run(&mut c);
    ctx.bench(case, "gemm-0.19", verify(&a, &b, &c, k, n), || run(black_box(&mut c)));

    let run = |c: &mut [f32]| unsafe {
        matrixmultiply::sgemm(m, k, n, 1.0, a.as_ptr(), ki, 1, b.as_ptr(), ni, 1, 0.0, c.as_mut_ptr(), ni, 1)
    };
    c.fill(0.0);
    run(&mut c);
    ctx.bench(case, "matrixmultiply-0.3", verify(&a, &b, &c, k, n), || run(black_box(&mut c)));

    {
        use faer::{MatMut, MatRef, Par};
        let par = if t == 1 { Par::Seq } else { Par::rayon(t) };
        let run = |c: &mut [f32]| {
            let cm = MatMut::from_row_major_slice_mut(c, m, n);
            faer::linalg::matmul::matmul(
                cm,
                faer::Accum::Replace,
                MatRef::from_row_major_slice(&a, m, k),
                MatRef::from_row_major_slice(&b, k, n),
                1f32,
                par,
            )
        };
        c.fill(0.0);
        run(&mut c);
        ctx.bench(case, "faer-0.24", verify(&a, &b, &c, k, n), || run(black_box(&mut c)));
    }
    {
        let (av, bv) = (
            ndarray::ArrayView2::from_shape((m, k), &a).unwrap(),
            ndarray::ArrayView2::from_shape((k, n), &b).unwrap(),
        );
        let mut cv = ndarray::Array2::<f32>::zeros((m, n));
        ndarray::linalg::general_mat_mul(1.0, &av, &bv, 0.0, &mut cv);
        ctx.bench(case, "ndarray-0.17", verify(&a, &b, cv.as_slice().unwrap(), k, n), || {
            ndarray::linalg::general_mat_mul(1.0, &av, &bv, 0.0, black_box(&mut cv))
        });
    }
    let (mi, kc, nc) = (m as c_int, k as c_int, n as c_int);
    if let Some(l) = &libs.mkl {
        unsafe {
            let f: Symbol<Cblas32> = l.get(b"cblas_sgemm").unwrap();
            let run = |c: &mut [f32]| {
                f(ROW, NT, NT, mi, nc, kc, 1.0, a.as_ptr(), kc, b.as_ptr(), nc, 0.0, c.as_mut_ptr(), nc)
            };
            c.fill(0.0);
            run(&mut c);
            ctx.bench(case, "mkl-sgemm", verify(&a, &b, &c, k, n), || run(black_box(&mut c)));
            // weights packed once, as an inference engine would do
            let p: Packed = (
                *l.get(b"cblas_sgemm_pack_get_size").unwrap(),
                *l.get(b"cblas_sgemm_pack").unwrap(),
                *l.get(b"cblas_sgemm_compute").unwrap(),
            );
            let bytes = (p.0)(162, mi, nc, kc); // CblasBMatrix
            let mut packed = vec![0f32; bytes / 4 + 32];
            let off = packed.as_ptr().align_offset(64);
            let pp = packed.as_mut_ptr().add(off);
            (p.1)(ROW, 162, NT, mi, nc, kc, 1.0, b.as_ptr(), nc, pp);
            let run = |c: &mut [f32]| (p.2)(ROW, NT, 151, mi, nc, kc, a.as_ptr(), kc, pp, nc, 0.0, c.as_mut_ptr(), nc);
            c.fill(0.0);
            run(&mut c);
            ctx.bench(case, "mkl-sgemm-packed-b", verify(&a, &b, &c, k, n), || run(black_box(&mut c)));
        }
    }
    if let Some(l) = &libs.openblas {
        unsafe {
            let f: Symbol<Cblas64> = l.get(b"scipy_cblas_sgemm64_").unwrap();
            let run = |c: &mut [f32]| {
                f(
                    ROW,
                    NT,
                    NT,
                    m as i64,
                    n as i64,
                    k as i64,
                    1.0,
                    a.as_ptr(),
                    k as i64,
                    b.as_ptr(),
                    n as i64,
                    0.0,
                    c.as_mut_ptr(),
                    n as i64,
                )
            };
            c.fill(0.0);
            run(&mut c);
            ctx.bench(case, "openblas-sgemm", verify(&a, &b, &c, k, n), || run(black_box(&mut c)));
            if m == 1 {
                type Gemv = unsafe extern "C" fn(
                    c_int,
                    c_int,
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
                );
                let f: Symbol<Gemv> = l.get(b"scipy_cblas_sgemv64_").unwrap();
                let run = |c: &mut [f32]| {
                    f(ROW, 112, k as i64, n as i64, 1.0, b.as_ptr(), n as i64, a.as_ptr(), 1, 0.0, c.as_mut_ptr(), 1)
                };
                c.fill(0.0);
                run(&mut c);
                ctx.bench(case, "openblas-sgemv", verify(&a, &b, &c, k, n), || run(black_box(&mut c)));
            }
        }
    }
    if let (Some(l), true) = (&libs.mkl, m == 1) {
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
        unsafe {
            let f: Symbol<Gemv> = l.get(b"cblas_sgemv").unwrap();
            let run = |c: &mut [f32]| f(ROW, 112, kc, nc, 1.0, b.as_ptr(), nc, a.as_ptr(), 1, 0.0, c.as_mut_ptr(), 1);
            c.fill(0.0);
            run(&mut c);
            ctx.bench(case, "mkl-sgemv", verify(&a, &b, &c, k, n), || run(black_box(&mut c)));
        }
    }
    if let Some(l) = &libs.dnnl {
        unsafe {
            let f: Symbol<DnnlSgemm> = l.get(b"dnnl_sgemm").unwrap();
            let nn = b'N' as c_char;
            let run = |c: &mut [f32]| {
                f(
                    nn,
                    nn,
                    m as i64,
                    n as i64,
                    k as i64,
                    1.0,
                    a.as_ptr(),
                    k as i64,
                    b.as_ptr(),
                    n as i64,
                    0.0,
                    c.as_mut_ptr(),
                    n as i64,
                )
            };
            c.fill(0.0);
            run(&mut c);
            ctx.bench(case, "onednn-sgemm", verify(&a, &b, &c, k, n), || {
                run(black_box(&mut c));
            });
        }
    }
    // numkong's packed f32 product (B as rows of length k); single-threaded call
    if t == 1 {
        use numkong::{Global, PackedMatrix, Tensor};
        let mut bt = vec![0f32; k * n];
        for p in 0..k {
            for j in 0..n {
                bt[j * k + p] = b[p * n + j];
            }
        }
        let at = Tensor::<f32, Global, 2>::try_from_slice(&a, &[m, k]);
        let bt = Tensor::<f32, Global, 2>::try_from_slice(&bt, &[n, k]);
        if let (Ok(at), Ok(bt)) = (at, bt) {
            if let Ok(pb) = PackedMatrix::<f32, Global>::try_pack(&bt) {
                let out = at.dots_packed(&pb);
                let got: Vec<f32> = out.as_slice().iter().map(|v| *v as f32).collect();
                ctx.bench(case, "numkong-7.8-packed-b(f64 out)", verify(&a, &b, &got, k, n), || {
                    black_box(at.dots_packed(&pb));
                });
            }
        }
    }
}
