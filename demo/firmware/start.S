/* From the second-stage bootloader to main(): a stack, zeroed data, a trap vector. */
    .section .iram0.vectors, "ax"
    .balign 256
trap_vector:
    j trap

    .section .iram0.text, "ax"
    .global start
    .type start, @function
start:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, stack_top
    la t0, trap_vector
    csrw mtvec, t0
    la t0, bss_start
    la t1, bss_end
1:  bgeu t0, t1, 2f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 1b
2:  call main

/* A trap ends here, unfed: the watchdog resets the chip and the bootloader decides what boots next. */
trap:
    j trap
