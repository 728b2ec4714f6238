/* evenkeel.h: runs evenkeel's images from C. SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * `evenkeel export --format c` writes an image as an array; the package ffi/ builds the library, libevenkeel.a:
 *
 *     evenkeel_net net;
 *     float output[MODEL_OUTPUTS], scratch[MODEL_SCRATCH];
 *     evenkeel_status status = evenkeel_open(&net, model_image, sizeof model_image);
 *     if (status == EVENKEEL_OK)
 *         status = evenkeel_run(&net, input, MODEL_INPUTS, output, MODEL_OUTPUTS, scratch, MODEL_SCRATCH);
 *     if (status != EVENKEEL_OK)
 *         puts(evenkeel_message(status));
 *
 * No function allocates, keeps state, or copies a weight; all may be called from several threads at once. Null pointers,
 * wrong alignment, wrong lengths, buffers that overlap and networks that were never opened are refused, each with a status
 * of its own. What cannot be seen from inside is the caller's part: that memory is as long as its length says, and that an
 * image stays where and as it is while it is used. Buffers that are written to need not hold anything before.
 */
#ifndef EVENKEEL_H
#define EVENKEEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a function says. Not an enum: its size would depend on the compiler's options. */
typedef int32_t evenkeel_status;

enum {
    EVENKEEL_OK = 0,
    EVENKEEL_NULL = 1,              /* a pointer is null */
    EVENKEEL_MISALIGNED = 2,        /* a pointer is not aligned for what it points to */
    EVENKEEL_LENGTH = 3,            /* a length does not fit the network */
    EVENKEEL_OVERLAP = 4,           /* two buffers share memory */
    EVENKEEL_NOT_OPEN = 5,          /* the network was not opened, or changed since */
    EVENKEEL_NO_CLASS = 6,          /* no class has this index, or classes have no names */
    EVENKEEL_BIG_ENDIAN = 16,       /* images are little-endian, this machine is not */
    EVENKEEL_IMAGE_MISALIGNED = 17, /* the image does not begin at a multiple of 64 bytes */
    EVENKEEL_IMAGE_TOO_SHORT = 18,  /* fewer bytes than a header has */
    EVENKEEL_IMAGE_MAGIC = 19,      /* these bytes are no image */
    EVENKEEL_IMAGE_VERSION = 20,    /* another version of the format */
    EVENKEEL_IMAGE_CONTRACT = 21,   /* made for another numeric contract */
    EVENKEEL_IMAGE_LENGTH = 22,     /* cut off, or something follows it */
    EVENKEEL_IMAGE_CHECKSUM = 23,   /* changed */
    EVENKEEL_IMAGE_FIELD = 24,      /* a field is out of its range */
    EVENKEEL_IMAGE_VALUE = 25,      /* a NaN or an infinity among the parameters */
    EVENKEEL_IMAGE_TEXT = 26,       /* a text is not what it must be */
    EVENKEEL_OTHER = 127            /* refused for a reason that has no number yet */
};

/* In front of an array of bytes: begins it at a multiple of 64, as an image must. */
#if defined(__GNUC__) || defined(__clang__)
#define EVENKEEL_ALIGNED __attribute__((aligned(64)))
#elif defined(__cplusplus)
#define EVENKEEL_ALIGNED alignas(64)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define EVENKEEL_ALIGNED _Alignas(64)
#elif defined(_MSC_VER)
#define EVENKEEL_ALIGNED __declspec(align(64))
#else
#error "evenkeel.h: say how this compiler aligns an array to 64 bytes: define EVENKEEL_ALIGNED here"
#endif

/* An image that was checked. Yours to place, copy and forget; its fields are not for you. */
typedef struct evenkeel_net {
    const uint8_t *image;
    size_t length;
    size_t seal;
} evenkeel_net;

/* Checks the `length` bytes of an image, which must begin at a multiple of 64, and sets `net`. Reads every byte once, so do
 * it at the start and keep `net`. After a refusal `net` is not open. */
evenkeel_status evenkeel_open(evenkeel_net *net, const uint8_t *image, size_t length);

/* Values of a row that goes in, and of one that comes out; 0 if `net` is not open. */
size_t evenkeel_inputs(const evenkeel_net *net);
size_t evenkeel_outputs(const evenkeel_net *net);

/* Values of scratch for `rows` rows at a time; 0 if `net` is not open. One row's worth is enough for any number of rows. */
size_t evenkeel_scratch(const evenkeel_net *net, size_t rows);

/* Runs the network on as many rows as `input` holds, one behind the other without padding. All lengths in values, not bytes;
 * `output` takes as many rows, `scratch` has at least evenkeel_scratch(net, 1) values. A refusal leaves `output` as it was. */
evenkeel_status evenkeel_run(const evenkeel_net *net, const float *input, size_t input_length, float *output,
                             size_t output_length, float *scratch, size_t scratch_length);

/* Index of the first of the largest values; `length`, which is no index, if there are none or `row` is invalid. */
size_t evenkeel_best(const float *row, size_t length);

/* The name of class `index`: UTF-8 inside the image, `length` bytes with no zero behind them. */
evenkeel_status evenkeel_class_name(const evenkeel_net *net, size_t index, const char **name, size_t *length);

/* What a status means: one line of ASCII, of any number. Never null. */
const char *evenkeel_message(evenkeel_status status);

#ifdef __cplusplus
}
#endif

#endif
