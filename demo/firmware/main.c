/* The camera: arm the watchdog, probe, confirm, then read frames for as long as the watchdog is fed. */
#include <stdint.h>

#include "behaviour.h"
#include "camera.h"
#include "registers.h"
#include "watchdog.h"

#define CONFIRMED 0xC0F1A3EDu

static struct frame latest;
static volatile uint32_t brightness;

static void hang(void)
{
    for (;;) {
    }
}

static void crash(void)
{
    __builtin_trap();
}

static uint32_t mean_brightness(const struct frame *frame)
{
    uint32_t sum = 0;
    for (uint32_t pixel = 0; pixel < sizeof frame->pixels; pixel++) {
        sum += frame->pixels[pixel];
    }
    return sum / sizeof frame->pixels;
}

/* The agent takes this word from the retained register and marks the running slot valid in otadata. */
static void confirm(void)
{
    RTC_CNTL_STORE0 = CONFIRMED;
}

int main(void)
{
    RTC_CNTL_STORE0 = 0;
    watchdog_arm();
    if (behaves(CRASHES_AT_BOOT)) {
        crash();
    }
    if (behaves(HANGS_BEFORE_CONFIRM)) {
        hang();
    }
    if (camera_probe()) {
        confirm();
    }
    for (;;) {
        watchdog_feed();
        camera_read(&latest);
        brightness = mean_brightness(&latest);
    }
}
