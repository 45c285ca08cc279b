/* The few ESP32-C3 registers that the camera touches.
 * Source: ESP32-C3 Technical Reference Manual, "Low-power Management" and "GPIO & IO MUX". */
#ifndef BACKSTAY_REGISTERS_H
#define BACKSTAY_REGISTERS_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define RTC_CNTL_BASE 0x60008000u
#define RTC_CNTL_STORE0 REGISTER(RTC_CNTL_BASE + 0x50)
#define RTC_CNTL_WDTCONFIG0 REGISTER(RTC_CNTL_BASE + 0x90)
#define RTC_CNTL_WDTCONFIG1 REGISTER(RTC_CNTL_BASE + 0x94)
#define RTC_CNTL_WDTFEED REGISTER(RTC_CNTL_BASE + 0xA4)
#define RTC_CNTL_WDTWPROTECT REGISTER(RTC_CNTL_BASE + 0xA8)

#define GPIO_IN REGISTER(0x60004000u + 0x3C)

#endif
