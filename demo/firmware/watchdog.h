#ifndef BACKSTAY_WATCHDOG_H
#define BACKSTAY_WATCHDOG_H

void watchdog_arm(void);
void watchdog_feed(void);

#endif
