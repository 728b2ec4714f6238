/* What happens on a Cortex-M4F before main: floating point on, variables set, semihosting opened. */
#include <stdint.h>
#include <stdlib.h>

extern uint32_t data_start, data_end, data_source, bss_start, bss_end, stack_top;
extern int main(void);
extern void initialise_monitor_handles(void);
extern void _exit(int status);

void reset(void);
void fault(void);

void reset(void)
{
    uint32_t *from = &data_source, *to;
    /* CPACR: full access to the floating-point unit, before any instruction uses it. */
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    for (to = &data_start; to < &data_end;)
        *to++ = *from++;
    for (to = &bss_start; to < &bss_end;)
        *to++ = 0;
    initialise_monitor_handles();
    exit(main());
}

/* A fault ends the program, instead of hanging the emulator. */
void fault(void)
{
    _exit(1);
}

/* Initial stack pointer, reset, NMI, and the faults. */
__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)&stack_top, (uintptr_t)reset, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
};
