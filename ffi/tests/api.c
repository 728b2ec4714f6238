/* The interface of evenkeel.h as a C or C++ compiler sees it: types, every function, what is refused. The image is that of
 * examples/c. Prints each check that fails and the count; ends with status 0 if there is none. */
#include <stdio.h>
#include <string.h>

#include "motion.h"

/* The caller may place a network wherever a struct may lie. */
struct device {
    char name[3];
    evenkeel_net net;
};

static int passed, failed;

static void check(const char *what, long found, long expected)
{
    if (found == expected) {
        passed++;
    } else {
        failed++;
        printf("%s: %ld, expected %ld\n", what, found, expected);
    }
}

static float input[2 * MOTION_INPUTS], output[2 * MOTION_OUTPUTS], scratch[2 * MOTION_SCRATCH], single[MOTION_OUTPUTS];
static EVENKEEL_ALIGNED uint8_t copy[MOTION_LENGTH + 1];

static void check_open(evenkeel_net *net)
{
    static const uint8_t text[128] = "KEEP";
    check("open", evenkeel_open(net, motion_image, MOTION_LENGTH), EVENKEEL_OK);
    check("open null", evenkeel_open(NULL, motion_image, MOTION_LENGTH), EVENKEEL_NULL);
    check("open no image", evenkeel_open(net, NULL, MOTION_LENGTH), EVENKEEL_NULL);
    check("inputs of what was not opened", (long)evenkeel_inputs(net), 0);
    memcpy(copy, text, sizeof text);
    check("open text", evenkeel_open(net, copy, sizeof copy), EVENKEEL_IMAGE_MAGIC);
    memcpy(copy, motion_image, MOTION_LENGTH);
    check("open short", evenkeel_open(net, copy, MOTION_LENGTH - 1), EVENKEEL_IMAGE_LENGTH);
    check("open shorter", evenkeel_open(net, copy, 63), EVENKEEL_IMAGE_TOO_SHORT);
    memcpy(copy + 1, motion_image, MOTION_LENGTH);
    check("open at an odd place", evenkeel_open(net, copy + 1, MOTION_LENGTH), EVENKEEL_IMAGE_MISALIGNED);
    memcpy(copy, motion_image, MOTION_LENGTH);
    copy[MOTION_LENGTH / 2] ^= 1;
    check("open damaged", evenkeel_open(net, copy, MOTION_LENGTH), EVENKEEL_IMAGE_CHECKSUM);
    memset(net, 0, sizeof *net);
    check("run on zeros", motion_run(net, input, output, scratch), EVENKEEL_NOT_OPEN);
    memset(net, 0x5a, sizeof *net);
    check("run on garbage", motion_run(net, input, output, scratch), EVENKEEL_NOT_OPEN);
    check("open again", motion_open(net), EVENKEEL_OK);
}

static void check_shapes(const evenkeel_net *net)
{
    const char *name = NULL;
    size_t length = 0;
    check("inputs", (long)evenkeel_inputs(net), MOTION_INPUTS);
    check("outputs", (long)evenkeel_outputs(net), MOTION_OUTPUTS);
    check("scratch", (long)evenkeel_scratch(net, 1), MOTION_SCRATCH);
    check("scratch of two", (long)evenkeel_scratch(net, 2), 2 * MOTION_SCRATCH);
    check("inputs of null", (long)evenkeel_inputs(NULL), 0);
    check("class", evenkeel_class_name(net, MOTION_CLASSES - 1, &name, &length), EVENKEEL_OK);
    check("its length", (long)length, (long)strlen(motion_classes[MOTION_CLASSES - 1]));
    check("its name", memcmp(name, motion_classes[MOTION_CLASSES - 1], length), 0);
    check("no class", evenkeel_class_name(net, MOTION_CLASSES, &name, &length), EVENKEEL_NO_CLASS);
    check("first feature", strcmp(motion_features[0], "ax_mean"), 0);
}

static void check_run(const evenkeel_net *net)
{
    const size_t in = MOTION_INPUTS, out = MOTION_OUTPUTS, work = MOTION_SCRATCH;
    size_t i;
    for (i = 0; i < 2 * in; i++)
        input[i] = (float)(i % 11) / 4.0f - 1.0f;
    check("a batch", evenkeel_run(net, input, 2 * in, output, 2 * out, scratch, 2 * work), EVENKEEL_OK);
    check("a row", motion_run(net, input + in, single, scratch), EVENKEEL_OK);
    check("a row alone has the bits it has in a batch", memcmp(single, output + out, sizeof single), 0);
    check("class", (long)motion_class(single) == (long)evenkeel_best(single, out), 1);
    memset(output, 0, sizeof output);
    check("null input", evenkeel_run(net, NULL, in, output, out, scratch, work), EVENKEEL_NULL);
    check("null output", evenkeel_run(net, input, in, NULL, out, scratch, work), EVENKEEL_NULL);
    check("null scratch", evenkeel_run(net, input, in, output, out, NULL, work), EVENKEEL_NULL);
    check("null network", evenkeel_run(NULL, input, in, output, out, scratch, work), EVENKEEL_NULL);
    check("no rows", evenkeel_run(net, input, 0, output, 0, scratch, work), EVENKEEL_LENGTH);
    check("part of a row", evenkeel_run(net, input, in - 1, output, out, scratch, work), EVENKEEL_LENGTH);
    check("short output", evenkeel_run(net, input, in, output, out - 1, scratch, work), EVENKEEL_LENGTH);
    check("short scratch", evenkeel_run(net, input, in, output, out, scratch, work - 1), EVENKEEL_LENGTH);
    check("length of bytes", evenkeel_run(net, input, in * 4, output, out, scratch, work), EVENKEEL_LENGTH);
    check("no such length", evenkeel_run(net, input, (size_t)-1, output, out, scratch, work), EVENKEEL_LENGTH);
    check("output over input", evenkeel_run(net, input, in, input, out, scratch, work), EVENKEEL_OVERLAP);
    check("scratch over output", evenkeel_run(net, input, in, scratch, out, scratch, work), EVENKEEL_OVERLAP);
    check("nothing was written", output[0] == 0.0f && output[out - 1] == 0.0f, 1);
    check("best of nothing", (long)evenkeel_best(NULL, 3), 3);
}

int main(void)
{
    static struct device device;
    int status;
    check("size of a status", (long)sizeof(evenkeel_status), 4);
    check_open(&device.net);
    check_shapes(&device.net);
    check_run(&device.net);
    for (status = -2; status <= 130; status++)
        check("a message", evenkeel_message(status) != NULL && evenkeel_message(status)[0] != '\0', 1);
    check("message", strcmp(evenkeel_message(EVENKEEL_OK), "done"), 0);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
