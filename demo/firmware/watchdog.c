/* The RTC watchdog: it outlives a hung CPU, and its reset is what makes an unconfirmed image fall back. */
#include "watchdog.h"

#include "registers.h"

#define WRITE_KEY 0x50D83AA1u
#define ENABLE (1u << 31)
#define STAGE0_RESETS_SYSTEM (4u << 28)
#define TIMEOUT_SLOW_CLOCK_TICKS (5u * 136000u) /* five seconds of the 136 kHz slow clock */

void watchdog_arm(void)
{
    RTC_CNTL_WDTWPROTECT = WRITE_KEY;
    RTC_CNTL_WDTCONFIG1 = TIMEOUT_SLOW_CLOCK_TICKS;
    RTC_CNTL_WDTCONFIG0 = ENABLE | STAGE0_RESETS_SYSTEM;
    RTC_CNTL_WDTWPROTECT = 0;
}

void watchdog_feed(void)
{
    RTC_CNTL_WDTWPROTECT = WRITE_KEY;
    RTC_CNTL_WDTFEED = 1u << 31;
    RTC_CNTL_WDTWPROTECT = 0;
}
