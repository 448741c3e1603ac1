/* A clock that a test can put forward, for Python alone: preloaded, it adds to CLOCK_REALTIME the seconds in the
   file that CLOCK_AHEAD names (8 bytes, mapped, so that a change is seen at once by every process).

   Ray's C++ keeps the kernel's clock: it waits until moments of the kernel, which here has not moved. The
   times of files are the kernel's too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead_s;
static int (*kernels)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("CLOCK_AHEAD");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof *ahead_s, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) ahead_s = mapped;
  close(file);
}

/* The interpreter, its library, or the module behind datetime.now. */
static int is_python(const void *code) {
  Dl_info found;
  if (!dladdr(code, &found) || !found.dli_fname) return 0;
  const char *slash = strrchr(found.dli_fname, '/');
  const char *name = slash ? slash + 1 : found.dli_fname;
  return !strncmp(name, "python", 6) || !strncmp(name, "libpython", 9) || !strncmp(name, "_datetime", 9);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (!kernels) kernels = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int failed = kernels(clock, now);
  if (!failed && ahead_s && clock == CLOCK_REALTIME && is_python(__builtin_return_address(0)))
    now->tv_sec += *ahead_s;
  return failed;
}
