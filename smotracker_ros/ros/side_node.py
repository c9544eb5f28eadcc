"""What the nodes beside the tracker have in common: parameters, life cycle, diagnostics once per second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from smotracker_ros.core.settings import SettingsError
from smotracker_ros.ros.inputs import Input
from smotracker_ros.ros.node_parameters import NodeParameter, TolerantParameters, declare, report_unused
from smotracker_ros.ros.parameters import check_changes
from smotracker_ros.ros.qos import result_profile
from smotracker_ros.space.frame_poses import Poses


class SideNode(TolerantParameters, LifecycleNode):
    """A lifecycle node that makes something of what trackers publish.

    Args:
        name: of the node.
        parameters: that it has.
        options: of rclpy's node.

    Raises:
        SettingsError: if a parameter given from outside is not allowed.
    """

    def __init__(self, name: str, parameters: Sequence[NodeParameter], **options: Any) -> None:
        super().__init__(name, **options)
        declare(self, parameters, has_lifecycle=True)
        report_unused(self)
        self._known = {item.name: item for item in parameters}
        self._poses: Poses | None = None
        self._results: dict[str, Any] = {}
        self._heard: list[Input] = []
        self._timers_of_activity: list[Any] = []
        # ROS time may stand still, and that is worth a word, too
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.add_on_set_parameters_callback(self._check_parameters)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return bool(self._value("autostart"))

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    # Life cycle -------------------------------------------------------------------------------------------------------

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop receiving."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget everything."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and forget everything."""
        self._stop()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to the unconfigured state."""
        self.get_logger().error("a transition failed; the node is unconfigured now")
        return self.on_shutdown(state)

    def close(self) -> None:
        """Stop and destroy the node."""
        self._stop()
        self.destroy_node()

    @property
    def _is_configured(self) -> bool:
        return bool(self._results)

    def _announce(self, results: Mapping[str, Any], statuses: Callable[[], list[DiagnosticStatus]]) -> None:
        """Create the publishers, by topic and type, and publish a status from now on."""
        self._results = {
            topic: self.create_lifecycle_publisher(kind, topic, result_profile()) for topic, kind in results.items()
        }
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)

        def publish() -> None:
            array = DiagnosticArray(status=statuses())
            array.header.stamp = self.get_clock().now().to_msg()
            self._diagnostics.publish(array)

        self._diagnostics_timer = self.create_timer(1.0, publish, clock=self._steady)

    def _every(self, seconds: float, call: Callable[[], None], clock: Clock | None = None) -> None:
        """Call something so often until the node is deactivated."""
        self._timers_of_activity.append(self.create_timer(seconds, call, clock=clock))

    def _stop(self) -> None:
        """Stop receiving; may be called twice."""
        for timer in self._timers_of_activity:
            self.destroy_timer(timer)
        for item in self._heard:
            item.close()
        self._timers_of_activity, self._heard = [], []

    def _release(self) -> None:
        """Drop what was made when the node was configured; may be called twice."""
        if self._results:
            self.destroy_timer(self._diagnostics_timer)
            self.destroy_publisher(self._diagnostics)
        for publisher in self._results.values():
            self.destroy_lifecycle_publisher(publisher)
        self._results = {}
        if self._poses is not None:
            self._poses.close()
        self._poses = None

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse values that are not allowed, or not now."""
        try:
            check_changes(self._known, parameters, configured=self._is_configured)
            self._check_together({parameter.name: parameter.value for parameter in parameters})
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _check_together(self, changed: Mapping[str, Any]) -> None:
        """Refuse values that do not go together.

        Raises:
            SettingsError: if they do not.
        """
