/* A stand-in for libnvidia-ml.so.1, made for tests: the real nvidia-ml-py loads it and cannot tell the difference.
 *
 * What it answers stands in a text file named by JOULECAR_FAKE_NVML_STATE, which driver.py writes and which is read
 * again on every call, under a shared file lock, so that a change happens at one instant for every reader. Energy is
 * base_mj + gain * mw * (now - since), by CLOCK_MONOTONIC, so that counters run between calls.
 *
 * The file is line by line "word value": driver-wide lines first, then one block per GPU that begins with "gpu".
 * See driver.py for what each line means.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#ifndef LIBRARY_VERSION
#define LIBRARY_VERSION "580.65.06"
#endif

#define MAX_GPUS 32
#define MAX_RULES 24
#define MAX_PROCESSES 16
#define MAX_HANDLES 256
#define MAX_INSTANCES 8
#define MAX_STATE 65536

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, LIB_RM_VERSION_MISMATCH = 18, ARGUMENT_VERSION_MISMATCH = 25 };

typedef struct { char call[64]; double value; } rule_t;
typedef struct { unsigned pid, sm; unsigned long long at_us; } process_t;
typedef struct {
    char uuid[96]; /* "-": a free slot */
    unsigned long long memory_mb;
    unsigned id, sms, slices, own_slices; /* id: of the GPU instance; slices: its, and those of the compute instance */
    double busy_s, busy; /* busy_s at the GPU's `since`, and how much of its SMs is busy from then on */
    unsigned residents[MAX_PROCESSES];
    int n_residents;
} instance_t;

typedef struct {
    char uuid[96], name[96];
    double since, base_mj, mw, gain, step_s;
    unsigned limit_mw, max_limit_mw;
    int mig; /* -1: the GPU cannot do MIG */
    int gpm; /* can its performance be monitored? */
    unsigned arch;
    int field_return, field_type; /* of POWER_INSTANT */
    rule_t errors[MAX_RULES], delays[MAX_RULES];
    int n_errors, n_delays;
    process_t processes[MAX_PROCESSES];
    int n_processes;
    instance_t instances[MAX_INSTANCES];
    int n_instances;
} gpu_t;

typedef struct {
    char kernel[64], calls[512];
    rule_t errors[MAX_RULES], delays[MAX_RULES];
    int n_errors, n_delays, n_gpus;
    double now;
    gpu_t gpus[MAX_GPUS];
} state_t;

typedef struct { char uuid[96]; int generation; } handle_t;
typedef handle_t *nvmlDevice_t;

static handle_t handles[MAX_HANDLES];
static int n_handles, initialised, generation;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void rule(rule_t *rules, int *n, const char *text)
{
    if (*n < MAX_RULES && sscanf(text, "%63s %lf", rules[*n].call, &rules[*n].value) == 2)
        (*n)++;
}

static void gpu_line(gpu_t *g, const char *word, const char *text)
{
    if (!strcmp(word, "name")) snprintf(g->name, sizeof g->name, "%s", text);
    else if (!strcmp(word, "since")) g->since = strtod(text, NULL);
    else if (!strcmp(word, "base_mj")) g->base_mj = strtod(text, NULL);
    else if (!strcmp(word, "mw")) g->mw = strtod(text, NULL);
    else if (!strcmp(word, "gain")) g->gain = strtod(text, NULL);
    else if (!strcmp(word, "step_s")) g->step_s = strtod(text, NULL);
    else if (!strcmp(word, "limit_mw")) g->limit_mw = (unsigned)strtoul(text, NULL, 10);
    else if (!strcmp(word, "max_limit_mw")) g->max_limit_mw = (unsigned)strtoul(text, NULL, 10);
    else if (!strcmp(word, "mig")) g->mig = atoi(text);
    else if (!strcmp(word, "gpm")) g->gpm = atoi(text);
    else if (!strcmp(word, "arch")) g->arch = (unsigned)atoi(text);
    else if (!strcmp(word, "field_return")) g->field_return = atoi(text);
    else if (!strcmp(word, "field_type")) g->field_type = atoi(text);
    else if (!strcmp(word, "error")) rule(g->errors, &g->n_errors, text);
    else if (!strcmp(word, "delay_ms")) rule(g->delays, &g->n_delays, text);
    else if (!strcmp(word, "instance") && g->n_instances < MAX_INSTANCES) {
        instance_t *i = &g->instances[g->n_instances];
        if (sscanf(text, "%95s %llu %u %u %u %u %lf %lf", i->uuid, &i->memory_mb, &i->id, &i->sms, &i->slices,
                   &i->own_slices, &i->busy_s, &i->busy) == 8)
            g->n_instances++;
    }
    else if (!strcmp(word, "resident") && g->n_instances) {
        instance_t *i = &g->instances[g->n_instances - 1];
        if (i->n_residents < MAX_PROCESSES) i->residents[i->n_residents++] = (unsigned)strtoul(text, NULL, 10);
    }
    else if (!strcmp(word, "process") && g->n_processes < MAX_PROCESSES) {
        process_t *p = &g->processes[g->n_processes];
        if (sscanf(text, "%u %u %llu", &p->pid, &p->sm, &p->at_us) == 3) g->n_processes++;
    }
}

/* 0: there is no state, so there is no driver. The instant is taken under the lock. */
static int load(state_t *s)
{
    static __thread char text[MAX_STATE];
    const char *path = getenv("JOULECAR_FAKE_NVML_STATE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    flock(file, LOCK_SH);
    ssize_t size = read(file, text, sizeof text - 1);
    s->now = now_s();
    close(file);
    if (size < 0) return 0;
    text[size] = 0;
    s->kernel[0] = s->calls[0] = 0;
    s->n_errors = s->n_delays = s->n_gpus = 0;
    gpu_t *g = NULL;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *value = strchr(line, ' ');
        if (!value) continue;
        *value++ = 0;
        if (!strcmp(line, "gpu")) {
            if (s->n_gpus == MAX_GPUS) break;
            g = &s->gpus[s->n_gpus++];
            memset(g, 0, sizeof *g);
            snprintf(g->uuid, sizeof g->uuid, "%s", value);
        } else if (g) gpu_line(g, line, value);
        else if (!strcmp(line, "kernel")) snprintf(s->kernel, sizeof s->kernel, "%s", value);
        else if (!strcmp(line, "calls")) snprintf(s->calls, sizeof s->calls, "%s", value);
        else if (!strcmp(line, "error")) rule(s->errors, &s->n_errors, value);
        else if (!strcmp(line, "delay_ms")) rule(s->delays, &s->n_delays, value);
    }
    return 1;
}

/* The value for this very call, else the one for "*", else 0. */
static double lookup(const rule_t *rules, int n, const char *call)
{
    double any = 0;
    for (int i = 0; i < n; i++) {
        if (!strcmp(rules[i].call, call)) return rules[i].value;
        if (!strcmp(rules[i].call, "*")) any = rules[i].value;
    }
    return any;
}

static gpu_t *find(state_t *s, const char *uuid)
{
    for (int i = 0; i < s->n_gpus; i++) {
        gpu_t *g = &s->gpus[i];
        if (!strcmp(g->uuid, uuid)) return g;
        for (int k = 0; k < g->n_instances; k++) /* an instance's handle leads to its GPU */
            if (!strcmp(g->instances[k].uuid, uuid)) return g;
    }
    return NULL;
}

static instance_t *instance_of(gpu_t *g, const char *uuid)
{
    for (int i = 0; i < g->n_instances; i++)
        if (!strcmp(g->instances[i].uuid, uuid)) return &g->instances[i];
    return NULL;
}

static void note(const state_t *s, const char *call, const char *uuid, int code)
{
    char line[256];
    int file = s->calls[0] ? open(s->calls, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file < 0) return;
    int n = snprintf(line, sizeof line, "%s %s %d\n", call, *uuid ? uuid : "-", code);
    if (write(file, line, (size_t)n) != n) abort();
    close(file);
}

/* Common to all calls: the delay, the state, the errors. A delay ends early when the state no longer asks for it, so
 * that a test can let go of a call that hangs. */
static int enter(state_t *s, const char *call, nvmlDevice_t h, gpu_t **gpu)
{
    const char *uuid = h ? h->uuid : "";
    gpu_t *g = NULL;
    for (double start = now_s();;) {
        if (!load(s)) return DRIVER_NOT_LOADED;
        g = h ? find(s, uuid) : NULL;
        double ms = g ? lookup(g->delays, g->n_delays, call) : 0;
        if (ms == 0) ms = lookup(s->delays, s->n_delays, call);
        double left_s = ms / 1000 - (now_s() - start);
        if (left_s <= 0) break;
        usleep((useconds_t)(fmin(left_s, 0.005) * 1e6));
    }
    int code = (int)lookup(s->errors, s->n_errors, call);
    if (!code && strcmp(s->kernel, LIBRARY_VERSION)) code = LIB_RM_VERSION_MISMATCH;
    if (!code && !initialised && strcmp(call, "nvmlInitWithFlags")) code = UNINITIALIZED;
    if (!code && h && h->generation != generation) code = INVALID_ARGUMENT;
    if (!code && h && !g) code = GPU_IS_LOST;
    if (!code && g) code = (int)lookup(g->errors, g->n_errors, call);
    note(s, call, uuid, code);
    if (gpu) *gpu = g;
    return code;
}

/* One state a thread, since a call may wait while another one is made. */
static __thread state_t s;

#define ENTER(h) \
    gpu_t *g = NULL; \
    int code = enter(&s, __func__, h, &g); \
    (void)g; \
    if (code) return code

static int hand_out(const char *uuid, nvmlDevice_t *out)
{
    for (int i = 0; i < n_handles; i++)
        if (handles[i].generation == generation && !strcmp(handles[i].uuid, uuid)) {
            *out = &handles[i];
            return OK;
        }
    if (n_handles == MAX_HANDLES) n_handles = 0; /* old handles turn into others, as they may in a driver */
    handle_t *h = &handles[n_handles++];
    snprintf(h->uuid, sizeof h->uuid, "%s", uuid);
    h->generation = generation;
    *out = h;
    return OK;
}

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    ENTER(NULL);
    if (initialised++ == 0) generation++;
    return OK;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void)
{
    ENTER(NULL);
    initialised--;
    return OK;
}

const char *nvmlErrorString(int code)
{
    (void)code;
    return "an error of the stand-in driver";
}

int nvmlSystemGetDriverVersion(char *out, unsigned size)
{
    ENTER(NULL);
    snprintf(out, size, "%s", LIBRARY_VERSION);
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *out)
{
    ENTER(NULL);
    *out = (unsigned)s.n_gpus;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *out)
{
    ENTER(NULL);
    if (index >= (unsigned)s.n_gpus) return INVALID_ARGUMENT;
    gpu_t *found = &s.gpus[index];
    code = (int)lookup(found->errors, found->n_errors, __func__);
    return code ? code : hand_out(found->uuid, out);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *out)
{
    ENTER(NULL);
    gpu_t *found = find(&s, uuid);
    if (!found) return NOT_FOUND;
    code = (int)lookup(found->errors, found->n_errors, __func__);
    return code ? code : hand_out(found->uuid, out);
}

int nvmlDeviceGetIndex(nvmlDevice_t h, unsigned *out) { ENTER(h); *out = (unsigned)(g - s.gpus); return OK; }
int nvmlDeviceGetUUID(nvmlDevice_t h, char *out, unsigned n) { ENTER(h); snprintf(out, n, "%s", h->uuid); return OK; }
int nvmlDeviceGetName(nvmlDevice_t h, char *out, unsigned n) { ENTER(h); snprintf(out, n, "%s", g->name); return OK; }
int nvmlDeviceGetPowerUsage(nvmlDevice_t h, unsigned *out) { ENTER(h); *out = (unsigned)g->mw; return OK; }
int nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t h, unsigned *out) { ENTER(h); *out = g->limit_mw; return OK; }
int nvmlDeviceGetPowerManagementLimit(nvmlDevice_t h, unsigned *out) { ENTER(h); *out = g->limit_mw; return OK; }
int nvmlDeviceGetArchitecture(nvmlDevice_t h, unsigned *out) { ENTER(h); *out = g->arch; return OK; }

int nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t h, unsigned *low, unsigned *high)
{
    ENTER(h);
    *low = 0;
    *high = g->max_limit_mw;
    return OK;
}

int nvmlDeviceGetMigMode(nvmlDevice_t h, unsigned *current, unsigned *pending)
{
    ENTER(h);
    if (g->mig < 0) return NOT_SUPPORTED;
    *current = *pending = (unsigned)g->mig;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t h, unsigned *out) { ENTER(h); *out = g->mig == 1 ? 7 : 0; return OK; }

int nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t h, unsigned index, nvmlDevice_t *out)
{
    ENTER(h);
    if (g->mig != 1) return NOT_SUPPORTED;
    if (index >= (unsigned)g->n_instances || !strcmp(g->instances[index].uuid, "-")) return NOT_FOUND;
    return hand_out(g->instances[index].uuid, out);
}

/* As in the real header. */
typedef struct { unsigned sms, copy, decoders, encoders, jpeg, ofa, gpu_slices, compute_slices; unsigned long long memory_mb; } attributes_t;

int nvmlDeviceGetAttributes_v2(nvmlDevice_t h, attributes_t *out)
{
    ENTER(h);
    const instance_t *i = instance_of(g, h->uuid);
    if (!i) return NOT_SUPPORTED; /* a whole GPU */
    *out = (attributes_t){.memory_mb = i->memory_mb, .sms = i->sms, .gpu_slices = i->slices,
                          .compute_slices = i->own_slices};
    return OK;
}

int nvmlDeviceGetGpuInstanceId(nvmlDevice_t h, unsigned *out)
{
    ENTER(h);
    const instance_t *i = instance_of(g, h->uuid);
    if (!i) return NOT_SUPPORTED;
    *out = i->id;
    return OK;
}

/* GPM. A sample is the driver's own; how many are not given back yet stands in the log of calls. */
typedef struct { char gpu[96]; unsigned id; double at_s, busy_s; } gpm_sample_t;
typedef struct { unsigned version, supported; } gpm_support_t;
typedef struct { unsigned id; int code; double value; struct { char *short_name, *long_name, *unit; } info; } gpm_metric_t;
typedef struct { unsigned version, n; gpm_sample_t *from, *to; gpm_metric_t metrics[]; } gpm_query_t;

int nvmlGpmQueryDeviceSupport(nvmlDevice_t h, gpm_support_t *out)
{
    ENTER(h);
    if (out->version != 1) return ARGUMENT_VERSION_MISMATCH;
    out->supported = (unsigned)g->gpm;
    return OK;
}

int nvmlGpmSampleAlloc(gpm_sample_t **out)
{
    ENTER(NULL);
    *out = calloc(1, sizeof **out);
    return OK;
}

int nvmlGpmSampleFree(gpm_sample_t *sample)
{
    ENTER(NULL);
    free(sample);
    return OK;
}

int nvmlGpmMigSampleGet(nvmlDevice_t h, unsigned id, gpm_sample_t *out)
{
    ENTER(h);
    if (!g->gpm || g->mig != 1 || instance_of(g, h->uuid)) return NOT_SUPPORTED;
    for (int i = 0; i < g->n_instances; i++) {
        const instance_t *one = &g->instances[i];
        if (one->id != id || !strcmp(one->uuid, "-")) continue;
        out->id = id;
        out->at_s = s.now;
        out->busy_s = one->busy_s + one->busy * (s.now - g->since);
        snprintf(out->gpu, sizeof out->gpu, "%s", g->uuid);
        return OK;
    }
    return NOT_FOUND;
}

int nvmlGpmMetricsGet(gpm_query_t *query)
{
    ENTER(NULL);
    if (query->version != 1) return ARGUMENT_VERSION_MISMATCH;
    const gpm_sample_t *from = query->from, *to = query->to;
    if (!from || !to || from->id != to->id || strcmp(from->gpu, to->gpu)) return INVALID_ARGUMENT;
    double span_s = to->at_s - from->at_s;
    gpu_t *found = find(&s, to->gpu);
    if (!found || span_s <= 0) return INVALID_ARGUMENT;
    for (unsigned i = 0; i < query->n; i++) {
        gpm_metric_t *m = &query->metrics[i];
        char name[32];
        snprintf(name, sizeof name, "gpm_metric_%u", m->id);
        m->code = (int)lookup(found->errors, found->n_errors, name);
        /* Time in which anything ran is twice the share of busy SMs here, so that a test sees which was taken. */
        m->value = 100 * (to->busy_s - from->busy_s) / span_s * (m->id == 1 ? 2 : 1);
        if (lookup(found->errors, found->n_errors, "gpm_nan")) m->value = NAN;
    }
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t h, unsigned long long *out)
{
    ENTER(h);
    double at = g->step_s > 0 ? fmax(floor(s.now / g->step_s) * g->step_s, g->since) : s.now;
    *out = (unsigned long long)(g->base_mj + g->gain * g->mw * (at - g->since));
    return OK;
}

/* As in the real header. */
typedef struct {
    uint32_t field, scope;
    int64_t timestamp, latency_us;
    int type, code;
    union { double d; unsigned ui; unsigned long ul; unsigned long long ull; } value;
} field_t;

int nvmlDeviceGetFieldValues(nvmlDevice_t h, int n, field_t *fields)
{
    ENTER(h);
    for (int i = 0; i < n; i++) {
        field_t *f = &fields[i];
        f->code = f->field == 186 && f->scope == 0 ? g->field_return : NOT_SUPPORTED;
        f->type = g->field_type;
        if (f->type == 0) f->value.d = g->mw;
        else if (f->type == 1) f->value.ui = (unsigned)g->mw;
        else f->value.ull = (unsigned long long)g->mw;
    }
    return OK; /* the call as a whole goes well, as with the real driver, when a field does not */
}

typedef struct { unsigned pid; unsigned long long at_us; unsigned sm, mem, enc, dec; } sample_t;

int nvmlDeviceGetProcessUtilization(nvmlDevice_t h, sample_t *out, unsigned *n, unsigned long long since_us)
{
    ENTER(h);
    if (g->mig == 1) return NOT_SUPPORTED;
    unsigned room = out ? *n : 0, found = 0;
    for (int i = 0; i < g->n_processes; i++) {
        const process_t *p = &g->processes[i];
        unsigned long long at_us = p->at_us ? p->at_us : (unsigned long long)(s.now * 1e6);
        if (at_us <= since_us) continue;
        if (found < room) {
            out[found].pid = p->pid;
            out[found].at_us = at_us;
            out[found].sm = p->sm;
            out[found].mem = out[found].enc = out[found].dec = 0;
        }
        found++;
    }
    *n = found;
    if (!found) return g->n_processes ? NOT_FOUND : OK; /* OK with nothing: what nvidia-ml-py raises as error 0 */
    return found > room ? INSUFFICIENT_SIZE : OK;
}

/* What other monitors ask for, so that they can be measured on the same stand-in. */
int nvmlDeviceGetMemoryInfo(nvmlDevice_t h, unsigned long long *out) { ENTER(h); out[0] = 1ULL << 36; out[1] = out[2] = 1ULL << 35; return OK; }
int nvmlDeviceGetTemperature(nvmlDevice_t h, int sensor, unsigned *out) { (void)sensor; ENTER(h); *out = 50; return OK; }
int nvmlDeviceGetUtilizationRates(nvmlDevice_t h, unsigned *out) { ENTER(h); out[0] = 80; out[1] = 40; return OK; }
int nvmlDeviceGetComputeMode(nvmlDevice_t h, int *out) { ENTER(h); *out = 0; return OK; }

/* As in the real header. */
typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } resident_t;

int nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t h, unsigned *n, resident_t *out)
{
    ENTER(h);
    const instance_t *own = instance_of(g, h->uuid);
    unsigned room = out ? *n : 0;
    *n = (unsigned)(own ? own->n_residents : g->n_processes);
    if (*n > room) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *n; i++)
        out[i] = (resident_t){own ? own->residents[i] : g->processes[i].pid, 1ULL << 30, 0, 0};
    return OK;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t h, unsigned *n, void *out) { (void)out; ENTER(h); *n = 0; return OK; }
