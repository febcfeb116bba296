/* A libnvidia-ml.so.1 without a GPU behind it, so that tests run the real pynvml: see README.md.
 *
 * Signatures and layouts follow NVIDIA's NVML API reference (docs.nvidia.com/deploy/nvml-api).
 * Every call reads the file that $FAKE_NVML names anew, so that a test can change the mood at any time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, TIMEOUT = 10 };
enum { MEGABYTE = 1 << 20, ROOM = 64, MIG_BASE = 0x100 };

typedef struct { int index; } Device;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory_v2;
typedef struct { unsigned gpu, memory; } Utilisation;
typedef struct { unsigned pid; unsigned long long used_memory; unsigned gpu_instance, compute_instance; } Process;

typedef struct { Device *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } Event;

static Device devices[ROOM], instances[ROOM];
static int listened_to[ROOM];
static long long told_xid[ROOM];
static int initialised;

/* The number that `what` has on `device` with `verb`, or `fallback` where the file does not say. The last line wins. */
static long long mood(const char *what, int device, const char *verb, long long fallback)
{
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256], line_what[64], line_device[16], line_verb[16], this_device[16];
    long long number;

    if (!file)
        return fallback;
    snprintf(this_device, sizeof this_device, "%d", device);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%63s %15s %15s %lld", line_what, line_device, line_verb, &number) == 4
            && !strcmp(line_what, what) && !strcmp(line_verb, verb)
            && (!strcmp(line_device, "*") || !strcmp(line_device, this_device)))
            fallback = number;
    fclose(file);
    return fallback;
}

/* What every call does first: hang, crash or fail, if that is the mood. */
static int trouble(const char *what, int device)
{
    for (long long left = mood(what, device, "hang", 0); left > 0; left--)
        sleep(1);
    if (mood(what, device, "crash", 0))
        abort();
    return (int)mood(what, device, "error", SUCCESS);
}

static int ask(const char *what, const Device *device, long long fallback, long long *answer)
{
    if (!initialised)
        return UNINITIALIZED;
    int index = device ? device->index : 0;
    int error = trouble(what, index);
    *answer = mood(what, index, "value", fallback);
    return error;
}

static int ask_unsigned(const char *what, const Device *device, long long fallback, unsigned *answer)
{
    long long number;
    int error = ask(what, device, fallback, &number);
    *answer = (unsigned)number;
    return error;
}

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    int error = trouble("init", 0);
    initialised = error == SUCCESS;
    return error;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void)
{
    initialised = 0;
    return SUCCESS;
}

const char *nvmlErrorString(int error)
{
    (void)error;
    return "an error that only the fake knows";
}

int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    long long major;
    int error = ask("driver", NULL, 550, &major);
    snprintf(version, length, "%lld.54.15", major);
    return error;
}

int nvmlDeviceGetCount_v2(unsigned *count) { return ask_unsigned("count", NULL, 2, count); }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **handle)
{
    unsigned count;
    int error = nvmlDeviceGetCount_v2(&count);
    if (error != SUCCESS)
        return error;
    if (index >= count || index >= sizeof devices / sizeof *devices)
        return INVALID_ARGUMENT;
    devices[index].index = (int)index;
    *handle = &devices[index];
    return trouble("handle", (int)index);
}

/* GPU-fa4e0000-0000-0000-0000-00000000000N; the value of `uuid` replaces N, as after a reboot in another order. */
int nvmlDeviceGetUUID(const Device *device, char *uuid, unsigned length)
{
    long long number;
    int error = ask("uuid", device, device->index, &number);
    snprintf(uuid, length, "GPU-fa4e0000-0000-0000-0000-%012llx", number);
    return error;
}

/* A value of `name` that is not 0 makes the name bytes that are no UTF-8. */
int nvmlDeviceGetName(const Device *device, char *name, unsigned length)
{
    long long garbled;
    int error = ask("name", device, 0, &garbled);
    snprintf(name, length, "%s", garbled ? "\xff\xfe" : "Fake GPU 16 GB");
    return error;
}

static int memory_of(const Device *device, unsigned long long *total, unsigned long long *used)
{
    long long total_mb, used_mb;
    int error = ask("memory_total_mb", device, 16384, &total_mb);
    if (error == SUCCESS)
        error = ask("memory_used_mb", device, 1024, &used_mb);
    if (error == SUCCESS) {
        *total = (unsigned long long)total_mb * MEGABYTE;
        *used = (unsigned long long)used_mb * MEGABYTE;
    }
    return error;
}

/* Version 1 counts what the driver reserves (here 512 MB) as used. */
int nvmlDeviceGetMemoryInfo(const Device *device, Memory *memory)
{
    int error = memory_of(device, &memory->total, &memory->used);
    if (error == SUCCESS) {
        memory->used += 512ull * MEGABYTE;
        memory->free = memory->total - memory->used;
    }
    return error;
}

#ifndef OLD_DRIVER
int nvmlDeviceGetMemoryInfo_v2(const Device *device, Memory_v2 *memory)
{
    int error = memory_of(device, &memory->total, &memory->used);
    if (error == SUCCESS) {
        memory->reserved = 512ull * MEGABYTE;
        memory->free = memory->total - memory->used - memory->reserved;
    }
    return error;
}
#endif

int nvmlDeviceGetUtilizationRates(const Device *device, Utilisation *utilisation)
{
    utilisation->memory = 0;
    return ask_unsigned("utilisation", device, 37, &utilisation->gpu);
}

int nvmlDeviceGetTemperature(const Device *device, int sensor, unsigned *celsius)
{
    (void)sensor;
    return ask_unsigned("temperature", device, 41, celsius);
}

int nvmlDeviceGetPowerUsage(const Device *device, unsigned *milliwatts)
{
    return ask_unsigned("power_mw", device, 65500, milliwatts);
}

#ifndef OLD_DRIVER
/* The value of `processes` says how many there are; their pids count from that of `pid`, 1000, and each has as much
 * memory as `process_memory_mb` says. */
int nvmlDeviceGetComputeRunningProcesses_v3(const Device *device, unsigned *count, Process *processes)
{
    long long there;
    int error = ask("processes", device, 0, &there);
    if (error != SUCCESS)
        return error;
    unsigned room = *count;
    *count = (unsigned)there;
    if (there > room)
        return INSUFFICIENT_SIZE;
    unsigned long long used = (unsigned long long)mood("process_memory_mb", device->index, "value", 1) * MEGABYTE;
    for (unsigned i = 0; i < there; i++)
        processes[i] = (Process){.pid = (unsigned)mood("pid", device->index, "value", 1000) + i, .used_memory = used};
    return SUCCESS;
}
#endif

int nvmlDeviceGetClockInfo(const Device *device, int domain, unsigned *megahertz)
{
    return domain == 1 ? ask_unsigned("sm_clock_mhz", device, 1410, megahertz)
                       : ask_unsigned("memory_clock_mhz", device, 1215, megahertz);
}

int nvmlDeviceGetFanSpeed(const Device *device, unsigned *percent)
{
    return ask_unsigned("fan", device, 30, percent);
}

int nvmlDeviceGetTotalEccErrors(const Device *device, int kind, int since, unsigned long long *count)
{
    (void)kind, (void)since;
    return ask("ecc_uncorrected", device, 0, (long long *)count);
}

/* The value of `mig` says how many instances there are; with none the mode is off. */
int nvmlDeviceGetMigMode(const Device *device, unsigned *now, unsigned *pending)
{
    int error = ask_unsigned("mig", device, 0, now);
    *pending = *now = *now > 0;
    return error;
}

int nvmlDeviceGetMaxMigDeviceCount(const Device *device, unsigned *count)
{
    (void)device;
    *count = 7;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(const Device *device, unsigned index, Device **handle)
{
    if (index >= mood("mig", device->index, "value", 0))
        return NOT_FOUND;
    instances[index].index = MIG_BASE + (int)index;
    *handle = &instances[index];
    return SUCCESS;
}

int nvmlEventSetCreate(void **set)
{
    *set = devices;
    return trouble("events", 0);
}

int nvmlDeviceRegisterEvents(const Device *device, unsigned long long types, void *set)
{
    (void)types, (void)set;
    int error = trouble("events", device->index);
    if (error == SUCCESS)
        listened_to[device->index] = 1;
    return error;
}

/* Each new value of `xid` is an event, for as long as somebody waits. */
int nvmlEventSetWait_v2(void *set, Event *event, unsigned timeout_ms)
{
    (void)set;
    for (unsigned waited_ms = 0; waited_ms < timeout_ms; waited_ms += 20) {
        for (int i = 0; i < ROOM; i++) {
            long long code = listened_to[i] ? mood("xid", i, "value", 0) : 0;
            if (code == told_xid[i])
                continue;
            told_xid[i] = code;
            if (code) {
                *event = (Event){.device = &devices[i], .type = 8, .data = (unsigned long long)code};
                return SUCCESS;
            }
        }
        usleep(20000);
    }
    return TIMEOUT;
}
