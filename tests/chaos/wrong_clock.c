/* LD_PRELOAD: the wall clock of one process is off by $CHAOS_CLOCK_SHIFT_SECONDS; its monotonic
 * clocks are not. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift_seconds(void)
{
    const char *given = getenv("CHAOS_CLOCK_SHIFT_SECONDS");
    return given ? atol(given) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += shift_seconds();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    static int (*real)(struct timeval *restrict, void *restrict);
    if (!real)
        real = (int (*)(struct timeval *restrict, void *restrict))dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(now, zone);
    if (!failed && now)
        now->tv_sec += shift_seconds();
    return failed;
}

time_t time(time_t *now)
{
    struct timespec right;
    clock_gettime(CLOCK_REALTIME, &right);
    if (now)
        *now = right.tv_sec;
    return right.tv_sec;
}
