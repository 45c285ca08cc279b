#ifndef BACKSTAY_CAMERA_H
#define BACKSTAY_CAMERA_H

#include <stdint.h>

#define FRAME_SIDE 8u

struct frame {
    uint32_t number;
    uint8_t pixels[FRAME_SIDE * FRAME_SIDE]; /* 0 to 16, as the digit classifier was trained */
};

/* 1 when the sensor delivers light, 0 when its lines are dead. */
int camera_probe(void);

void camera_read(struct frame *frame);

#endif
