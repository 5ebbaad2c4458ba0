package segstream.bench;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/**
 * Keeps a user in {@code fuel_type=X} while enough of their views of the last ten days were of X.
 *
 * <p>Event ids are remembered for a day. Panes of an hour leave the window by event-time timers; a
 * boundary that an event discovers first is evaluated before that event, each one in order.
 */
public class ShareRule extends KeyedProcessFunction<String, Event, Change> {
    private static final long PANE_MS = 3_600_000L;
    private static final int PANES = 240;
    private static final int DEDUPE_S = 86_400;
    private static final int IDS_MAX = 1_000;
    private static final double ENTER = 0.5;
    private static final double LEAVE = 0.4;
    private static final int MIN_VIEWS = 5;
    private static final String SEGMENT = "fuel_type=";

    private transient ValueState<Profile> state;

    @Override
    public void open(OpenContext context) {
        state = getRuntimeContext()
                .getState(new ValueStateDescriptor<>("profile", Profile.class));
    }

    @Override
    public void processElement(Event event, Context context, Collector<Change> out)
            throws Exception {
        Profile profile = state.value();
        if (profile == null) {
            profile = new Profile();
        }
        long clockMs = Math.max(profile.clockMs, event.atMs);
        int pane = (int) (event.atMs / PANE_MS);
        profile.forgetUntil((int) (clockMs / 1000) - DEDUPE_S);
        if (profile.hasSeen(event.idHash) || pane <= profile.clockMs / PANE_MS - PANES) {
            return;
        }
        expire(profile, clockMs, event.userId, out);
        profile.clockMs = clockMs;
        if (event.view) {
            profile.count(pane, event.fuel);
            decide(profile, clockMs, event.userId, out);
        }
        profile.remember(event.idHash, (int) (clockMs / 1000), IDS_MAX);
        keep(profile, context);
    }

    @Override
    public void onTimer(long timestamp, OnTimerContext context, Collector<Change> out)
            throws Exception {
        Profile profile = state.value();
        if (profile == null) {
            return;
        }
        if (timestamp >= profile.timerMs) {
            profile.timerMs = Long.MAX_VALUE;
        }
        expire(profile, timestamp, context.getCurrentKey(), out);
        profile.forgetUntil((int) (timestamp / 1000) - DEDUPE_S);
        keep(profile, context);
    }

    private void keep(Profile profile, Context context) throws Exception {
        if (profile.isEmpty()) {
            state.clear();
            return;
        }
        long wakeMs = profile.cells > 0
                ? leavesAtMs(profile.oldestPane())
                : (profile.idAtS[profile.ids - 1] + DEDUPE_S) * 1000L;
        if (wakeMs < profile.timerMs) {
            context.timerService().registerEventTimeTimer(wakeMs);
            profile.timerMs = wakeMs;
        }
        state.update(profile);
    }

    private static long leavesAtMs(int pane) {
        return (pane + PANES) * PANE_MS;
    }

    private static void expire(
            Profile profile, long untilMs, String userId, Collector<Change> out) {
        while (profile.cells > 0) {
            int oldest = profile.oldestPane();
            long boundaryMs = leavesAtMs(oldest);
            if (boundaryMs > untilMs) {
                return;
            }
            profile.drop(oldest);
            profile.clockMs = Math.max(profile.clockMs, boundaryMs);
            decide(profile, boundaryMs, userId, out);
        }
    }

    private static void decide(
            Profile profile, long atMs, String userId, Collector<Change> out) {
        boolean enough = profile.views >= MIN_VIEWS;
        for (int i = 0; i < profile.values.length; i++) {
            double share = (double) profile.totals[i] / profile.views;
            boolean in = enough && share >= (profile.member[i] ? LEAVE : ENTER);
            if (in != profile.member[i]) {
                profile.member[i] = in;
                Change change = new Change();
                change.userId = userId;
                change.segment = SEGMENT + profile.values[i];
                change.enter = in;
                change.atMs = atMs;
                change.matching = profile.totals[i];
                change.views = profile.views;
                out.collect(change);
            }
        }
    }
}
