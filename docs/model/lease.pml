/* The lease: whatever dies or freezes, a task ends once and has one result. README.md says how to
 * run it and which variants must fail.
 *
 * A worker claims (a new token), works, and settles; it may die or freeze in between. The monitor
 * gives the task of a silent holder back, and cannot tell a dead one from a frozen one. A frozen
 * worker that wakes goes on as if nothing had happened. Each step is one statement or transaction.
 */

#ifndef WORKERS
#define WORKERS 3
#endif
#define LOSSES 3 /* how often the monitor may be mistaken about the living */

mtype = { queued, processing, completed };

mtype status = queued;
byte token = 0;      /* lease_token; 0: nobody holds the task */
byte next_token = 1; /* the sequence */
byte results = 0;    /* rows of a result table */
bool silent = false; /* the holder has sent no heartbeat for lease_seconds */
byte losses = 0;
byte deaths = 0;

proctype Worker()
{
    byte mine = 0;

end_idle:
    do
    :: atomic { status == queued -> status = processing; mine = next_token; token = next_token;
                next_token++; silent = false };
       if
       :: skip                                            /* it works */
       :: d_step { losses < LOSSES && token == mine -> losses++; silent = true } /* frozen; it will wake */
       :: atomic { deaths < WORKERS - 1 -> deaths++;      /* dead: one of them survives */
                   if
                   :: token == mine -> silent = true
                   :: else -> skip
                   fi };
          break
       fi;
#ifdef RESULT_FIRST
       /* The result in a transaction of its own, before the task's end. */
       atomic {
           if
           :: token == mine -> results++
           :: else -> skip
           fi
       };
#endif
       /* Settle: the result and the new status in one transaction. */
       atomic {
           if
#ifdef NO_FENCE
           :: status == processing -> assert(token == mine); status = completed; token = 0; results++
#else
           :: token == mine -> status = completed; token = 0
#ifndef RESULT_FIRST
              ; results++
#endif
#endif
           :: else -> skip                                /* the lease is gone: the result is dropped */
           fi
       }
    od
}

/* `reveille_recover_tasks`: checks silence again in the statement that takes the task away. */
active proctype Monitor()
{
end_watch:
    do
    :: atomic { status == processing && silent -> status = queued; token = 0; silent = false }
    od
}

init
{
    byte n = 0;

    atomic {
        do
        :: n < WORKERS -> run Worker(); n++
        :: else -> break
        od
    };
    timeout;                                              /* nothing moves any more */
    assert(status == completed);
    assert(results == 1)
}
