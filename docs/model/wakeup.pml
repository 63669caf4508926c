/* The wake-up: no claimable task waits while the worker sleeps. README.md says how to run it and
 * which variants must fail.
 *
 * A writer is a transaction of the backend: it draws its id at the INSERT, tries the pool's gate in
 * the deferred trigger, commits (which may take long), and then, if it has the gate, lets go of it
 * and has its notification delivered: the order of PostgreSQL's CommitTransaction. The worker is
 * reveille/notifier.py's SecondLooks without their pauses, which no property may depend on.
 */

#ifndef WRITERS
#define WRITERS 3
#endif

mtype = { absent, in_flight, committed, aborted };

mtype task[WRITERS] = absent;
bool claimed[WRITERS];
byte xid[WRITERS];
byte next_xid = 1, completed_xid = 0; /* the next to be drawn; the highest that has ended */
bool gate = false;                    /* the advisory lock */
bool heard = true;                    /* the worker's event; after LISTEN it looks once */

#define WAITING(n) (task[n] == committed && !claimed[n])
#if WRITERS == 2
#define WAITS (WAITING(0) || WAITING(1))
#elif WRITERS == 3
#define WAITS (WAITING(0) || WAITING(1) || WAITING(2))
#else
#define WAITS (WAITING(0) || WAITING(1) || WAITING(2) || WAITING(3))
#endif

inline end(me, how)
{
    d_step {
        task[me] = how;
        completed_xid = (xid[me] > completed_xid -> xid[me] : completed_xid)
    }
}

proctype Writer(byte me)
{
    bool tells = false;

    d_step { xid[me] = next_xid; next_xid++; task[me] = in_flight };
    atomic {
        if
        :: !gate -> gate = true; tells = true
        :: else  -> skip               /* whoever has it is about to tell */
        fi
    };
    if
    :: end(me, committed);
       if
       :: tells -> gate = false; heard = true
       :: else  -> skip
       fi
#ifdef HOLDER_MAY_FAIL
    :: tells -> end(me, aborted); gate = false /* after its trigger, before its commit */
#endif
    fi
}

inline look()
{
    d_step {
        i = 0;
        do
        :: i < WRITERS -> claimed[i] = claimed[i] || task[i] == committed; i++
        :: else -> break
        od;
        i = 0
    }
}

/* Transactions below the horizon that have not ended. */
inline count_pending()
{
    d_step {
        i = 0;
        pending = 0;
        do
        :: i < WRITERS -> pending = pending + (task[i] == in_flight && xid[i] < horizon -> 1 : 0); i++
        :: else -> break
        od;
        i = 0
    }
}

active proctype Worker()
{
    byte i, pending, horizon;

end_asleep:
    heard;
anew:
    heard = false;
    look();
#ifndef NO_SECOND_LOOKS
    if
    :: heard -> goto anew
    :: look()                          /* after 2 and 20 ms */
    fi;
#ifdef HORIZON_OF_THE_COMPLETED
    horizon = completed_xid + 1;       /* a snapshot's xmax */
#else
    horizon = next_xid;                /* pg_current_xact_id() */
#endif
    do
    :: heard -> goto anew
    :: else ->
        count_pending();
        if
        :: pending == 0 -> look(); break
        :: else -> look()
        fi
    od;
#endif
    goto end_asleep
}

#ifdef HEARTBEAT
/* Whenever something claimable waits it will say so, sooner or later. */
active proctype Heart()
{
end_beat:
    do
    :: d_step { WAITS && !heard -> heard = true }
    od
}
#endif

init
{
    byte n;

    atomic {
        n = 0;
        do
        :: n < WRITERS -> run Writer(n); n++
        :: else -> break
        od
    };
    timeout;                           /* nothing moves any more: the worker sleeps for good */
    n = 0;
    do
    :: n < WRITERS -> assert(task[n] != committed || claimed[n]); n++
    :: else -> break
    od
}
