/* Preloaded into redis-server: its wall clock is the system's, and as many milliseconds more as the first eight
 * bytes of CLOCK_FILE say at that moment. libfaketime does not start with jemalloc. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
  int file = open(getenv("CLOCK_FILE"), O_RDONLY);
  void *mapped = file < 0 ? MAP_FAILED : mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) abort();
  offset = mapped;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int failed = syscall(SYS_gettimeofday, now, zone);
  if (failed || !offset) return failed;
  int64_t micros = now->tv_sec * INT64_C(1000000) + now->tv_usec + *offset * 1000;
  now->tv_sec = micros / 1000000;
  now->tv_usec = micros % 1000000;
  return 0;
}
