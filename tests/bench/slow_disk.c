/* LD_PRELOAD: each fdatasync, which is how Postgres flushes its WAL on Linux, takes
 * $BENCH_FLUSH_MICROSECONDS longer. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int file)
{
    static int (*real)(int);
    static long more = -1;
    if (!real) {
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
        const char *given = getenv("BENCH_FLUSH_MICROSECONDS");
        more = given ? atol(given) : 0;
    }
    usleep(more);
    return real(file);
}
