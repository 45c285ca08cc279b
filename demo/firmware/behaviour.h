/* What this build is meant to do wrong, if anything: the demo's faulty releases are faulty here.
 * The record can be found in a finished image by its magic, which occurs once. */
#ifndef BACKSTAY_BEHAVIOUR_H
#define BACKSTAY_BEHAVIOUR_H

#include <stdint.h>

#define BEHAVIOUR_RECORD_VERSION 1

enum {
    HANGS_BEFORE_CONFIRM = 1u << 0,
    FAILS_CAMERA_PROBE = 1u << 1,
    CRASHES_AT_BOOT = 1u << 2,
};

struct behaviour_record {
    char magic[4];
    uint8_t record_version;
    uint8_t flags;
    uint8_t reserved[2];
};

extern const struct behaviour_record behaviour;

static inline int behaves(uint8_t fault)
{
    /* volatile: the compiler must read the record, so that image and code cannot disagree. */
    return (*(const volatile uint8_t *)&behaviour.flags & fault) != 0;
}

#endif
