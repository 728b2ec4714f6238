/* A network of 58 inputs and 7 outputs; `evenkeel export --format c` wrote this.
 *
 * Trained as dense(32) bn relu dropout(0.2) dense(32) bn relu dropout(0.2) dense(7).
 * Rows are raw values: the standardisation of the inputs is folded in.
 * Export it again rather than change it. Link with libevenkeel.a, include evenkeel.h from the same version.
 */
#ifndef MOTION_H
#define MOTION_H

#include "evenkeel.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MOTION_INPUTS 58 /* values of a row that goes in */
#define MOTION_OUTPUTS 7 /* values of a row that comes out: a score for each class */
#define MOTION_SCRATCH 128 /* values of scratch for a row */
#define MOTION_LENGTH 13824 /* bytes of the image */

extern const uint8_t motion_image[MOTION_LENGTH];

#define MOTION_CLASSES 7
extern const char *const motion_classes[MOTION_CLASSES]; /* their names, UTF-8 */

/* Names of the inputs, UTF-8. */
extern const char *const motion_features[MOTION_INPUTS];

/* Checks the image and sets `net`: once, at the start. */
evenkeel_status motion_open(evenkeel_net *net);

/* The outputs for one row; what `scratch` holds does not matter. */
evenkeel_status motion_run(const evenkeel_net *net, const float input[MOTION_INPUTS], float output[MOTION_OUTPUTS],
    float scratch[MOTION_SCRATCH]);

/* The class that outputs mean. */
size_t motion_class(const float output[MOTION_OUTPUTS]);

#ifdef __cplusplus
}
#endif

#endif
