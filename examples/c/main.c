/* Which exercise is this person doing? Runs the network in motion.c on the rows of wearer.csv and prints the class of each,
 * with the bits of every output, so that two machines can be compared. Plain C: on the board the file and the output go
 * through semihosting, where a product would read its sensor. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "motion.h"

/* Reads `subject,label,` and the features of one line; returns 0 if there are not as many numbers. */
static int parse(const char *line, float values[MOTION_INPUTS])
{
    size_t i;
    char *end;
    for (i = 0; i < 2; i++) {
        line = strchr(line, ',');
        if (line == NULL)
            return 0;
        line++;
    }
    for (i = 0; i < MOTION_INPUTS; i++) {
        values[i] = strtof(line, &end);
        if (end == line || *end != (i + 1 < MOTION_INPUTS ? ',' : '\n'))
            return 0;
        line = end + 1;
    }
    return 1;
}

/* The bits of a float. */
static unsigned long bits(float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

int main(void)
{
    static float input[MOTION_INPUTS], output[MOTION_OUTPUTS], scratch[MOTION_SCRATCH];
    static char line[1024];
    evenkeel_net net;
    unsigned long rows = 0;
    size_t i;
    FILE *file;

    evenkeel_status status = motion_open(&net);
    if (status != EVENKEEL_OK) {
        printf("motion.c: %s\n", evenkeel_message(status));
        return 1;
    }
    file = fopen("wearer.csv", "r");
    if (file == NULL) {
        printf("wearer.csv: %s; make writes it\n", strerror(errno));
        return 1;
    }
    /* Names of the columns. */
    if (fgets(line, sizeof line, file) == NULL) {
        printf("wearer.csv is empty\n");
        return 1;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        rows++;
        if (!parse(line, input)) {
            printf("wearer.csv, row %lu: %d numbers were expected\n", rows, MOTION_INPUTS + 2);
            return 1;
        }
        status = motion_run(&net, input, output, scratch);
        if (status != EVENKEEL_OK) {
            printf("row %lu: %s\n", rows, evenkeel_message(status));
            return 1;
        }
        printf("row %3lu: class %s ", rows, motion_classes[motion_class(output)]);
        for (i = 0; i < MOTION_OUTPUTS; i++)
            printf(" %08lx", bits(output[i]));
        printf("\n");
    }
    fclose(file);
    printf("%lu rows\n", rows);
    return rows == 0;
}
